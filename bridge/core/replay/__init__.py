"""Past events for a client: replay after a reconnect, and pages of history."""
