"""The JavaScript client by itself: its pieces, its types, its size and its package."""
