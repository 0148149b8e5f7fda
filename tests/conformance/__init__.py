"""What any client library has to do, as scenarios: `python -m tests.conformance COMMAND...`."""
