"""Other endpoints: history, health, metrics, static files."""
