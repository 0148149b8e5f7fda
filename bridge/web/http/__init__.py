"""Shared by all HTTP endpoints: errors, CORS, rate limits."""
