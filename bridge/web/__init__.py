"""The downstream bank: everything that knows of HTTP, WebSocket and clients."""
