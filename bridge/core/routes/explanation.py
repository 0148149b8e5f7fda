"""Explains what becomes of one record: for whom it is, why, and what each template found.

Rule: the verdict is that of the topic's own decoder. The steps are told by a slower way through the
same route, and decide nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bridge.core.protocol.envelope import AUDIENCE_HEADERS
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.frames import build_event_frame
from bridge.core.routes.decoder import Filtered
from bridge.core.routes.path import ABSENT, encode_json, find, open_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.core.protocol.event import Event
    from bridge.core.protocol.record import Record
    from bridge.core.routes.decoder import TopicDecoder
    from bridge.core.routes.formats import Format
    from bridge.core.routes.templates.explain import Step

    #: Returns the steps of a route for a record of a partition.
    RouteSteps = Callable[[Record, int], Sequence[Step]]

_ENVELOPE_FIELDS: Final = ("connections", "accounts", "rooms", "all")
_SENTENCES: Final = {
    "no_audience": "It names nobody, so nobody gets it.",
    "tombstone": "It has no value, and nothing says whom it was for: nobody gets it.",
    "when": "The route's `when` excludes it, so nobody gets it.",
}


class ExplainedStep(msgspec.Struct):
    """A template, header or envelope field that was tried, and what it gave.

    `template` is None for a header and a field. `found_in` names the places; `found` is what stands
    there: one value, or an object by place where there are several.
    """

    field: str
    template: str | None
    found_in: str = msgspec.field(name="from")
    found: msgspec.Raw | None
    gave: list[str]


class AddressedTo(msgspec.Struct):
    """The audience of a record."""

    accounts: list[str]
    rooms: list[str]
    connections: list[str]
    all: bool

    def addresses(self) -> Iterator[str]:
        """Yield `account:A`, `room:R`, `connection:C` and `all`."""
        yield from (f"account:{name}" for name in self.accounts)
        yield from (f"room:{name}" for name in self.rooms)
        yield from (f"connection:{name}" for name in self.connections)
        if self.all:
            yield "all"


class Explained(msgspec.Struct):
    """What became of a record. `event` is its frame without `to`, None unless it is addressed."""

    topic: str
    at: str | None
    verdict: str
    reason: str | None
    sentence: str
    audience: AddressedTo
    event: msgspec.Raw | None
    steps: list[ExplainedStep]
    connected: None = None


class SeenRecord(NamedTuple):
    """A record with the value that templates see."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def with_value(record: Record, value: bytes | None) -> SeenRecord:
    """Return `record` with another value."""
    return SeenRecord(record.offset, record.timestamp, record.key, value, record.headers)


class RecordExplainer:
    """Explains the records of one topic. `route_steps` is None for native envelopes."""

    def __init__(
        self,
        topic: str,
        decoder: TopicDecoder,
        value_format: Format,
        route_steps: RouteSteps | None = None,
        see_value: Callable[[Record], bytes | None] | None = None,
        envelope_fields: Sequence[str] = _ENVELOPE_FIELDS,
    ) -> None:
        """`see_value` returns what a ready route sees as the value of a record.

        Without `route_steps`, `envelope_fields` of the value are told.
        """
        self._see_value = see_value
        self._envelope_fields = envelope_fields
        self._topic = topic
        self._decoder = decoder
        self._format = value_format
        self._route_steps = route_steps

    def explain(self, record: Record, partition: int, at: str | None) -> Explained:
        """Return what becomes of `record`; `at` is its position, if it has one."""
        verdict, reason, event = "unaddressed", None, None
        sentence = ""
        try:
            event = self._decoder.decode_record(record, partition)
        except InvalidRecord as error:
            verdict, reason = "dead", error.reason
            sentence = f"It is dead, {error.reason}: {error}."
        except Filtered:
            verdict, reason = "filtered", "when"
        if event is not None:
            verdict = "addressed"
            sentence = f"It is for {_list(_audience(event))}."
        elif verdict == "unaddressed":
            reason = "tombstone" if record.value is None else "no_audience"
        return Explained(
            *(self._topic, at, verdict, reason),
            sentence or _SENTENCES[str(reason)],
            _audience(event),
            None if event is None else self._frame(event, partition),
            list(self._steps(record, partition)),
        )

    def _frame(self, event: Event, partition: int) -> msgspec.Raw:
        fields = msgspec.json.decode(
            build_event_frame(self._topic, partition, event).encode(""),
            type=dict[str, msgspec.Raw],
        )
        del fields["to"]
        return msgspec.Raw(msgspec.json.encode(fields))

    def _steps(self, record: Record, partition: int) -> Iterator[ExplainedStep]:
        headers = [(name, raw) for name, raw in record.headers if name in AUDIENCE_HEADERS]
        if headers:
            yield from (_header_step(name, raw) for name, raw in headers)
            return
        try:
            if self._see_value is not None:
                record = with_value(record, self._see_value(record))
            value = record.value
        except InvalidRecord:
            return  # nothing was tried: the sentence says why
        if value is not None and self._envelope_fields:
            yield from self._envelope_steps(value)
        if self._route_steps is not None:
            yield from map(_route_step, self._route_steps(record, partition))

    def _envelope_steps(self, value: bytes) -> Iterator[ExplainedStep]:
        try:
            opened = self._format.open(value)
            for name in self._envelope_fields:
                found = find(opened, (name,))
                yield ExplainedStep(name, None, f"value.{name}", _raw(found), _texts(found))
        except InvalidRecord:
            return


def _audience(event: Event | None) -> AddressedTo:
    if event is None:
        return AddressedTo([], [], [], all=False)
    return AddressedTo(
        list(event.accounts), list(event.rooms), list(event.connections), all=event.all
    )


def _list(audience: AddressedTo) -> str:
    return ", ".join(
        "everybody" if address == "all" else address.replace(":", " ", 1)
        for address in audience.addresses()
    )


def _header_step(name: str, raw: bytes | None) -> ExplainedStep:
    text = (raw or b"").decode("utf-8", "replace")
    gave = [part.strip() for part in text.split(",") if part.strip()]
    return ExplainedStep(
        *(name.removeprefix("push-"), None, f"header.{name}"), _raw(text if raw else ABSENT), gave
    )


def _route_step(step: Step) -> ExplainedStep:
    found = {place: msgspec.Raw(text) for place, text in step.found.items()}
    whole: Any = ABSENT
    if len(found) == 1:
        (whole,) = found.values()
    elif found:
        whole = found
    return ExplainedStep(step.field, step.template, ",".join(step.places), _raw(whole), step.gave)


def _raw(found: Any) -> msgspec.Raw | None:  # noqa: ANN401
    if found is ABSENT:
        return None
    return msgspec.Raw(encode_json(found))


def _texts(found: Any) -> list[str]:  # noqa: ANN401
    value = open_json(found)
    items = value if isinstance(value, list) else [value]
    return [text for text in map(open_json, items) if isinstance(text, str)]
