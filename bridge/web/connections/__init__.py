"""Client connections: admission, WebSocket and SSE connections, and the pool of all."""
