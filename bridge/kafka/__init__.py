"""Reads and writes topics in Kafka; knows nothing of clients."""
