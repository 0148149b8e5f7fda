"""Names, cursors, events, and frames: the values of the protocol and their encodings."""
