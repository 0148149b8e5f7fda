"""Creating the bridge's own topics on a Kafka that names no controller ends with a sentence."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest

from bridge.coordination import topics as module
from bridge.coordination.topics import BridgeTopics, CannotCreateTopics, create_topics
from bridge.kafka.client.client import KafkaAccess


class AdminWithoutController:
    """Fails as aiokafka's does if the metadata names no controller."""

    calls = 0

    def __init__(self, **_: object) -> None:
        self.start = self.close = AsyncMock()

    async def create_topics(self, _: object) -> None:
        type(self).calls += 1
        raise AttributeError("'NoneType' object has no attribute 'nodeId'")


async def test_a_kafka_without_a_controller_is_named_after_some_tries(monkeypatch):
    AdminWithoutController.calls = 0
    monkeypatch.setattr(module, "AIOKafkaAdminClient", AdminWithoutController)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    client = Mock(describe_topics=AsyncMock(return_value={}), broker_count=1)
    with pytest.raises(CannotCreateTopics, match="BRIDGE_KAFKA__PREFIX"):
        await create_topics(client, KafkaAccess("kafka:9092", {}), BridgeTopics("other"))
    assert AdminWithoutController.calls == 5, "a controller that moves is waited for"
