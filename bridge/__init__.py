"""From Kafka to every browser, phone and terminal that should know."""

__version__ = "0.1.0"
