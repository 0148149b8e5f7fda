"""Load from many clients: pool, stream reading, delivery checks, worker processes."""
