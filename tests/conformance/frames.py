"""The frames of a scenario: what it leaves out is filled in, what it captured is put in its place.

The rule kept here: what the runner sends is what a bridge may send, and what a client sends is
held against the published schemas; only what a scenario sends on purpose is not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Fields = dict[str, Any]
_NOW = "$in:"  # "$in:7" is the time in seven seconds

_OMITTED: dict[str, Fields] = {
    "welcome": {
        "connection": "454ad66c6a14533de6269fc3a30a16ac",
        "account": "alice",
        "instance": "one",
        "topics": ["t"],
        "rooms": [],
        "heartbeat": 25,
        "expires": None,
        "cursor": "C0",
    },
    "live": {"replayed": 0},
    "rooms": {"joined": [], "left": []},
    "closing": {"reason": "said so", "retry_after": 0, "cursor": None},
}


def whole(frame: Fields, bound: Fields) -> Fields:
    """The frame that `frame` is short for."""
    frame = {name: _value(value, bound) for name, value in frame.items()}
    match frame["op"]:
        case "event":
            at = frame["at"]
            told: Fields = {
                "topic": at.split(":")[0],
                "to": "account",
                "id": at,
                "type": "event",
                "time": "2026-11-21T09:00:00Z",
            }
            if not {"data", "data_base64", "deleted"} & frame.keys():
                told["data"] = {"at": at}
        case "closing":
            told = {**_OMITTED["closing"], "reconnect": frame["code"] < 4500}
        case op:
            told = _OMITTED.get(op, {})
    return {**told, **frame}


def _value(value: object, bound: Fields) -> object:
    if isinstance(value, str) and value.startswith(_NOW):
        then = datetime.now(UTC) + timedelta(seconds=float(value.removeprefix(_NOW)))
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return [_value(each, bound) for each in value]
    return bound.get(value, value) if isinstance(value, str) else value


def same(hello: Fields) -> Fields:
    """A hello in the one form of all that mean the same.

    Names and positions stand in any order, of a partition's positions the highest counts, and to
    ask for no rooms is not to ask for rooms.
    """
    told = {name: sorted(it) if isinstance(it, list) else it for name, it in hello.items()}
    if told.get("rooms") == []:
        del told["rooms"]
    if isinstance(place := hello.get("cursor"), str):
        cursor, *positions = place.split(",")
        last: dict[str, int] = {}
        for partition, _, offset in (position.rpartition(":") for position in positions):
            last[partition] = max(int(offset), last.get(partition, 0))
        told["cursor"] = ",".join([cursor, *(f"{at}:{last[at]}" for at in sorted(last))])
    return told


def differs(wanted: Fields, told: Fields, bound: Fields) -> str | None:
    """How `told` differs from the subset that is wanted of it; None where it does not."""
    for name, expected in wanted.items():
        value = _value(expected, bound)
        found = told.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            if (deeper := differs(value, found, bound)) is not None:
                return f"{name}.{deeper}"
        elif found != value:
            return f"{name}: {found!r} instead of {value!r}; in {told}"
    return None
