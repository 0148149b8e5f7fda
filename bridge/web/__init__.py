"""HTTP, WebSocket and Server-Sent Events: clients and operators; knows nothing of Kafka."""
