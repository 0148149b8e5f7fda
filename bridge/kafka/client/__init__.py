"""The Kafka client: requests, record batches, and the embedded broker of `dev`."""
