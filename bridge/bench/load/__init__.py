"""Many clients in a few processes: connections, stream reading, delivery checks."""
