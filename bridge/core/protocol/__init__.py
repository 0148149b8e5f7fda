"""Values of the protocol and their encodings: names, cursors, events, frames, close codes."""
