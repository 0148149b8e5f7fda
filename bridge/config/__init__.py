"""Settings, topic definitions, and their validation."""
