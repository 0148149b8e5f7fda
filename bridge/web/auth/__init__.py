"""Authentication of clients, and checks of where requests come from."""
