"""The upstream bank: everything that knows of Kafka."""
