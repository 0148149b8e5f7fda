"""Who a client is, and where it may come from."""
