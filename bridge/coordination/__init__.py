"""Instances working together through the bridge's own four topics; leader election."""
