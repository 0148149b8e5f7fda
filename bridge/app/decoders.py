"""Builds the decoder of each topic from the settings.

Rule: what does not depend on a record is done here, once per topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.routes.decoder import FormatDecoder, NativeDecoder, RecordDecoder
from bridge.core.routes.formats import FORMATS, MAX_JSON_GROWTH

if TYPE_CHECKING:
    from bridge.config.settings import LimitSettings, Settings
    from bridge.config.topics import TopicDefinition
    from bridge.core.routes.decoder import TopicDecoder


def build_decoder(settings: Settings) -> RecordDecoder:
    """Return the decoder of all topics of `settings`."""
    limits = settings.limits
    return RecordDecoder(
        NativeDecoder(limits.event_bytes, limits.audience),
        {topic.name: build_topic_decoder(topic, limits) for topic in settings.topics},
    )


def build_topic_decoder(topic: TopicDefinition, limits: LimitSettings) -> TopicDecoder:
    """Return the decoder of `topic`."""
    if topic.format == "json":
        return NativeDecoder(limits.event_bytes, limits.audience)
    value_format = FORMATS[topic.format](MAX_JSON_GROWTH * limits.event_bytes)
    return FormatDecoder(value_format, limits.event_bytes, limits.audience)
