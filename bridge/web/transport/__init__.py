"""Bytes on connections: HTTP, the WebSocket handshake and framing, the SSE format."""
