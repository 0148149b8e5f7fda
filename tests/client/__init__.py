"""Tests of the Python client, part by part; the whole of it is proven by tests.conformance."""
