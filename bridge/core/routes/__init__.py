"""From records to events: formats, routes, and the decoder of each topic. Sans-I/O."""
