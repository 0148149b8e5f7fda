"""The load generator of `push-bridge bench`: many clients, one producer, delivery checks.

Rule: it imports nothing else of the bridge, and uses only the protocol and `/metrics`. So a bug of
the bridge cannot hide in its own measurement.
"""
