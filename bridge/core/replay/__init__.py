"""What a client missed: catching up, and pages of its history."""
