"""Records that name no audience are no longer silent, and their values stay where they are."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from bridge.app.pipeline import UnaddressedLog, field_names
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
from tests.core.factories import ConsumerRecord

SECRET = "s3cr3t"


class Log:
    """The log with a clock of its own, and its lines."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self.now = 0.0
        self._log = UnaddressedLog(lambda: self.now)

    def add(self, *values: Any, topic: str = "orders", offset: int = 10) -> None:
        records = [
            ConsumerRecord(offset + n, 0, None, json.dumps(value).encode(), ())
            for n, value in enumerate(values)
        ]
        decoded = native_decoder(10_000).decode(Batch(topic, 3, records, offset + len(records)))
        if decoded.unaddressed:
            self._log.add(decoded)

    def lines(self) -> list[str]:
        return [record.getMessage().partition(" topic=")[2] for record in self._caplog.records]


def test_the_first_is_told_at_once_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(caplog)
    log.add({"accounts": ["alice"]}, {"account": SECRET, "data": SECRET})
    assert log.lines() == ["orders count=1 last=orders:3:11 fields=account,data"]
    assert SECRET not in caplog.text
    assert caplog.records[0].levelname == "INFO"


def test_once_a_minute_and_topic_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(caplog)
    log.add({})
    log.add({}, topic="news")
    log.now = 59.9
    log.add({}, {})
    log.now = 60.0
    log.add({"a": 1}, offset=20)
    assert log.lines() == [
        "orders count=1 last=orders:3:10 fields=none",
        "news count=1 last=news:3:10 fields=none",
        "orders count=3 last=orders:3:20 fields=a",
    ]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        (b"[1]", []),
        (b"{", []),
        (b"\xff", []),
        (json.dumps({"x" * 50: 1, "\u202e": 2}).encode(), ["x" * 40, "\\u202e"]),
        (json.dumps({f"f{n}": n for n in range(30)}).encode(), [f"f{n}" for n in range(20)]),
    ],
)
def test_names_are_few_and_short(value: bytes | None, names: list[str]) -> None:
    assert field_names(value) == names
