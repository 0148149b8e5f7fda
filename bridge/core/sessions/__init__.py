"""Connected clients, and the events that each of them receives."""
