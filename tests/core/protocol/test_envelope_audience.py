"""How many names an audience may have: BRIDGE_LIMITS__AUDIENCE, in envelopes and in headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
from tests.core.factories import record

if TYPE_CHECKING:
    from bridge.core.protocol.record import Record

LIMIT = 100


def reasons(it: Record) -> list[str]:
    decoded = native_decoder(1 << 20, LIMIT).decode(Batch("t", 0, [it], 1))
    return [each.error.reason for each in decoded.unusable]


@pytest.mark.parametrize("kind", ["accounts", "rooms", "connections"])
@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1])
def test_more_names_than_the_limit_are_dead_as_too_many(kind: str, count: int) -> None:
    expected = ["too_many"] if count > LIMIT else []
    names = [f"{number}" for number in range(count)]
    assert reasons(record(json.dumps({kind: names}).encode())) == expected
    assert reasons(record(b"1", (f"push-{kind}", ",".join(names).encode()))) == expected
    each = [(f"push-{kind}", name.encode()) for name in names]
    assert reasons(record(b"1", *each)) == expected


def test_names_of_all_kinds_count_together() -> None:
    half = [f"{number}" for number in range(LIMIT // 2 + 1)]
    assert reasons(record(json.dumps({"accounts": half, "rooms": half}).encode())) == ["too_many"]
    headers = [("push-accounts", ",".join(half).encode()), ("push-rooms", ",".join(half).encode())]
    assert reasons(record(b"1", *headers)) == ["too_many"]


def test_the_shortest_names_count_too() -> None:
    assert reasons(record(b'{"rooms":[%s]}' % b",".join([b'"a"'] * (LIMIT + 1)))) == ["too_many"]
