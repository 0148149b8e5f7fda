"""Builds the decoder of each topic from the settings.

Rule: what does not depend on a record is done here, once per topic.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.core.routes.decoder import FormatDecoder, NativeDecoder, RecordDecoder
from bridge.core.routes.explanation import RecordExplainer
from bridge.core.routes.formats import FORMATS, KEY_FORMATS, MAX_JSON_GROWTH, JsonFormat
from bridge.core.routes.ready import cloudevents, debezium
from bridge.core.routes.ready.cloudevents import CloudEventDecoder
from bridge.core.routes.ready.debezium import DebeziumDecoder
from bridge.core.routes.templates.explain import RouteExplainer
from bridge.core.routes.templates.route_decoder import RouteDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.settings import LimitSettings, Settings
    from bridge.config.topics import TopicDefinition
    from bridge.core.protocol.record import Record
    from bridge.core.routes.decoder import TopicDecoder


_READY_DECODERS: Final[dict[str, type[RouteDecoder]]] = {
    "cloudevents": CloudEventDecoder,
    "debezium": DebeziumDecoder,
}


def build_decoder(settings: Settings) -> RecordDecoder:
    """Return the decoder of all topics of `settings`."""
    limits = settings.limits
    return RecordDecoder(
        NativeDecoder(limits.event_bytes, limits.audience),
        {topic.name: build_topic_decoder(topic, limits) for topic in settings.topics},
    )


def build_explainer(topic: TopicDefinition, limits: LimitSettings) -> RecordExplainer:
    """Return what explains the records of `topic`."""
    max_json_bytes = MAX_JSON_GROWTH * limits.event_bytes
    value_format = FORMATS[topic.format](max_json_bytes)
    decoder, route = build_topic_decoder(topic, limits), topic.parsed_route
    if route is None:
        return RecordExplainer(topic.name, decoder, value_format)
    see_value: Callable[[Record], bytes | None] | None = None
    if route.use == "cloudevents":
        see_value = cloudevents.seen_value
    elif route.use == "debezium":
        see_value = partial(debezium.seen_value, value_format)
    explainer = RouteExplainer(
        *(route, topic.name, JsonFormat() if route.use else value_format),
        KEY_FORMATS[topic.key_format](max_json_bytes),
        limits.event_bytes,
        limits.audience,
    )
    return RecordExplainer(
        topic.name,
        decoder,
        value_format,
        lambda record, partition: explainer.explain(record, partition).steps,
        see_value,
        ("accounts", "rooms", "all") if route.reads_extensions else (),
    )


def build_topic_decoder(topic: TopicDefinition, limits: LimitSettings) -> TopicDecoder:
    """Return the decoder of `topic`."""
    max_json_bytes = MAX_JSON_GROWTH * limits.event_bytes
    value_format = FORMATS[topic.format](max_json_bytes)
    native: TopicDecoder = FormatDecoder(value_format, limits.event_bytes, limits.audience)
    if topic.format == "json":
        native = NativeDecoder(limits.event_bytes, limits.audience)
    route = topic.parsed_route
    if route is None:
        return native
    key_format = KEY_FORMATS[topic.key_format](max_json_bytes)
    decoder_class = _READY_DECODERS.get(route.use, RouteDecoder)
    return decoder_class(
        *(route, topic.name, value_format, key_format, native),
        limits.event_bytes,
        limits.audience,
    )
