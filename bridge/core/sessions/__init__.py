"""Connected clients and which events they receive."""
