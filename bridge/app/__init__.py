"""Builds and runs one instance."""
