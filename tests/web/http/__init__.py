"""What all endpoints of HTTP have in common."""
