"""The load generator of `push-bridge bench`: many clients, one producer, and a judge.

Rule: it stands outside. It knows the protocol and `/metrics`, as anybody may, and imports nothing
else of the bridge; so what it measures can not be measured with the bridge's own eyes.
"""
