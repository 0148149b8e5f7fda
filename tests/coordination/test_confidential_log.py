"""No log line quotes what producers wrote: not one field of a record that cannot be decoded."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bridge
from bridge.coordination.dead_letters import DeadLetterQueue
from bridge.core.protocol.event import InvalidRecord, describe_decode_error
from bridge.core.protocol.record import Batch, UndecodableRecord, UnusableRecord
from bridge.core.protocol.topic_catalogue import NO_TOPICS
from bridge.core.routes.decoder import FormatDecoder, RecordDecoder, native_decoder
from bridge.core.routes.formats import KEY_FORMATS
from bridge.core.routes.path import open_json
from tests.coordination.test_commands import CommandHarness
from tests.core.factories import ConsumerRecord
from tests.core.routes.templates.routing import decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.core.protocol.record import Record

SECRET = "s3cr3t"
RAW = SECRET.encode()
LONG = SECRET * 100
NO_TIME = f"2026-{SECRET}"
#: Not printable in a name.
BAD_NAME = f"\x07{SECRET}"
MAX_BYTES, MAX_NAMES = 2000, 3

HEADERS = [(SECRET, RAW)]


def record(value: bytes | None, headers: Any = (), key: bytes | None = RAW) -> ConsumerRecord:
    return ConsumerRecord(7, 0, key, value, headers)


def envelope(**fields: Any) -> ConsumerRecord:
    return record(json.dumps({"all": True, "data": {SECRET: SECRET}, **fields}).encode())


def by_headers(*headers: tuple[str, bytes]) -> ConsumerRecord:
    return record(RAW, [*HEADERS, ("push-all", b"true"), *headers])


EVENTS: list[tuple[str, ConsumerRecord | UndecodableRecord]] = [
    ("too_large", record(RAW * MAX_BYTES)),
    ("too_many", envelope(rooms=[SECRET] * 9, accounts=[SECRET])),
    ("too_many", by_headers(("push-rooms", b",".join([RAW] * 9)))),
    ("bad_record", UndecodableRecord(7, 0, RAW, "a header's name is not UTF-8")),
    ("bad_json", record(RAW)),
    ("bad_json", record(b'{"data":"' + RAW + b'\xff"}')),
    ("bad_json", record(b'{"' + RAW + b'":' + b"[" * 1500)),
    ("bad_envelope", record(json.dumps([SECRET]).encode())),
    ("bad_envelope", record(json.dumps(SECRET).encode())),
    *(
        ("bad_envelope", envelope(**{field: {SECRET: SECRET}}))
        for field in ("id", "type", "time", "tag", "accounts", "rooms", "connections", "all")
    ),
    ("bad_envelope", envelope(all=SECRET)),
    ("bad_envelope", envelope(rooms=[SECRET, 7])),
    ("bad_header", by_headers(("push-all", RAW))),
    ("bad_header", by_headers(("push-meta", RAW))),
    ("bad_header", by_headers(("push-rooms", RAW + b"%zz"))),
    ("bad_header", by_headers(("push-rooms", RAW + b"%ff"))),
    ("bad_header", by_headers(("push-tag", RAW + b"\xff"))),
    *(
        ("bad_name", envelope(**{field: [name]}))
        for field in ("accounts", "rooms", "connections")
        for name in (LONG, BAD_NAME)
    ),
    *(
        ("bad_name", by_headers((f"push-{field}", BAD_NAME.encode())))
        for field in ("accounts", "rooms", "connections")
    ),
    ("bad_time", envelope(time=NO_TIME)),
    ("bad_time", by_headers(("push-time", NO_TIME.encode()))),
]
TEXTS: list[tuple[str, ConsumerRecord]] = [
    ("bad_value", record(RAW + b"\xff")),
    ("bad_envelope", record(RAW)),
]
COMMANDS: list[tuple[str, bytes]] = [
    ("too_large", RAW * MAX_BYTES),
    ("bad_command", RAW),
    ("bad_command", RAW + b"\xff"),
    ("bad_command", json.dumps({"do": SECRET}).encode()),
    ("bad_command", json.dumps({"do": f'it\'s "{SECRET}" - at `$.do`'}).encode()),
    ("bad_command", json.dumps({SECRET: SECRET}).encode()),
    ("bad_command", json.dumps({"do": "join", "room": {SECRET: 1}, "account": SECRET}).encode()),
    ("bad_command", json.dumps({"do": "join", "room": SECRET}).encode()),
    ("bad_command", json.dumps({"do": "title", "room": SECRET, "title": LONG * 2}).encode()),
    *(
        ("bad_name", json.dumps({"do": "leave", "room": "r", "account": "a", field: name}).encode())
        for field in ("room", "account")
        for name in (LONG, BAD_NAME)
    ),
    ("bad_name", json.dumps({"do": "drain", "instance": BAD_NAME}).encode()),
    ("bad_time", json.dumps({"do": "revoke", "account": "a", "before": NO_TIME}).encode()),
]
NOON = "2026-11-21T12:00:00.000Z"
PRESENT = {"is": "present", "id": "c", "instance": "i", "since": NOON, "rooms": [], "topics": []}
STATE: list[tuple[str, bytes | None]] = [
    (SECRET, RAW),
    (SECRET, RAW + b"\xff"),
    (SECRET, None),
    (f"revoked,{SECRET}", json.dumps({"is": SECRET}).encode()),
    (SECRET, json.dumps({"is": "revoked", "account": SECRET, "before": NOON}).encode()),
    (
        f"revoked,{SECRET}",
        json.dumps({"is": "revoked", "account": SECRET, "before": NO_TIME}).encode(),
    ),
    (f"revoked,{LONG}", json.dumps({"is": "revoked", "account": LONG, "before": NOON}).encode()),
    (
        f"member,{BAD_NAME},r",
        json.dumps({"is": "member", "account": BAD_NAME, "room": "r"}).encode(),
    ),
    ("present,c", json.dumps({**PRESENT, "since": NO_TIME}).encode()),
    ("present,c", json.dumps({**PRESENT, "rooms": [BAD_NAME]}).encode()),
    ("present,c", json.dumps({**PRESENT, "topics": [LONG]}).encode()),
    (f"alive,{SECRET}", json.dumps({"is": "alive", "instance": SECRET, "since": NO_TIME}).encode()),
    (f"occupied,{SECRET},n", json.dumps({"is": "occupied", "kind": SECRET, "name": "n"}).encode()),
    ("folded", json.dumps({"is": "folded", "offset": -1}).encode()),
]


#: Each with a template, and a record that it does not fit.
ROUTED = [
    ("bad_key", "{key}", ConsumerRecord(7, 0, RAW + b"\xff", b"{}", ())),
    ("bad_header", "{header.h}", ConsumerRecord(7, 0, None, b"{}", (("h", RAW + b"\xff"),))),
    ("bad_route:rooms", "x:{value.a}", record(json.dumps({"a": {SECRET: SECRET}}).encode())),
    ("bad_route:rooms", {"jmespath": "sum(value)"}, record(json.dumps([SECRET]).encode())),
    ("bad_name", "{value}", record(json.dumps(BAD_NAME).encode())),
]


def decode(record_decoder: RecordDecoder, records: list[Record]) -> list[UnusableRecord]:
    return record_decoder.decode(Batch("t", 0, records, 8)).unusable


def raised_by(open_value: Callable[[], object]) -> UnusableRecord:
    with pytest.raises(InvalidRecord) as error:
        open_value()
    return UnusableRecord("t", 0, record(RAW), error.value)


def unusable_records() -> Iterator[tuple[str, list[UnusableRecord]]]:
    """All cases: the expected reason, and what became of the record."""
    native = native_decoder(MAX_BYTES, MAX_NAMES)
    for reason, event in EVENTS:
        yield reason, decode(native, [event])
    text = RecordDecoder(FormatDecoder(KEY_FORMATS["text"](9000), MAX_BYTES, MAX_NAMES))
    for reason, event in TEXTS:
        yield reason, decode(text, [event])
    harness = CommandHarness()
    for reason, command in COMMANDS:
        harness.read_commands(command)
        yield reason, [harness.unusable.pop()]
    for key, state in STATE:
        harness.consumer._state_reported_at = float("-inf")  # else once a minute
        harness.read_state(ConsumerRecord(7, 0, key.encode(), state, ()))
        yield "bad_state", [harness.unusable.pop()]
    for reason, route, routed in ROUTED:
        yield reason, decode(RecordDecoder(decoder({"rooms": route})), [routed])
    yield "bad_value", [raised_by(lambda: KEY_FORMATS["int"](9).open(RAW * 9))]
    half_a_pair = RAW.join([b'"', b'\\ud800"'])
    yield "bad_json", [raised_by(lambda: open_json(KEY_FORMATS["json"](9).open(half_a_pair)))]


def test_no_reason_quotes_any_field_of_a_record(caplog: pytest.LogCaptureFixture) -> None:
    seen = set()
    with caplog.at_level(logging.DEBUG):
        for reason, (unusable,) in unusable_records():
            DeadLetterQueue(NO_TOPICS).add(unusable)
            assert unusable.error.reason == reason, unusable
            assert f"reason={reason} " in caplog.messages[-1]
            assert SECRET not in caplog.text, unusable.error
            assert SECRET not in repr(unusable.error)
            caplog.clear()
            seen.add(reason)
    assert seen >= reasons_in_the_source(), "a new reason needs a case here"


def reasons_in_the_source() -> set[str]:
    """The first argument of each `InvalidRecord(...)`."""
    calls = (
        node
        for path in Path(next(iter(bridge.__path__))).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InvalidRecord"
    )
    reasons = (call.args[0] for call in calls)
    return {str(reason.value) for reason in reasons if isinstance(reason, ast.Constant)}


def test_the_source_has_the_reasons_that_everybody_knows() -> None:
    assert reasons_in_the_source() >= {"bad_record", "too_many", "bad_time", "bad_state"}


@pytest.mark.parametrize("quote", ["'", '"', "' - at `$.do`\n\"'"])
def test_what_a_decoder_quotes_is_left_out(quote: str) -> None:
    error = ValueError(f"Invalid value {quote + SECRET!r} - at `$.do`")
    assert describe_decode_error(error) == "Invalid value ... - at `$.do`"
