"""The frames of a scenario: what it leaves out is filled in, what it captured is put in its place.

The rule kept here: what the runner sends is what a bridge may send, and what a client sends is
held against the published schemas; only what a scenario sends on purpose is not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Fields = dict[str, Any]
_TIME_PREFIX = "$in:"  # "$in:7" is the time in seven seconds

_DEFAULTS: dict[str, Fields] = {
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


def complete_frame(frame: Fields, captured: Fields) -> Fields:
    """The frame that `frame` is short for."""
    frame = {name: _resolve(value, captured) for name, value in frame.items()}
    match frame["op"]:
        case "event":
            at = frame["at"]
            defaults: Fields = {
                "topic": at.split(":")[0],
                "to": "account",
                "id": at,
                "type": "event",
                "time": "2026-11-21T09:00:00Z",
            }
            if not {"data", "data_base64", "deleted"} & frame.keys():
                defaults["data"] = {"at": at}
        case "closing":
            defaults = {**_DEFAULTS["closing"], "reconnect": frame["code"] < 4500}
        case op:
            defaults = _DEFAULTS.get(op, {})
    return {**defaults, **frame}


def _resolve(value: object, captured: Fields) -> object:
    if isinstance(value, str) and value.startswith(_TIME_PREFIX):
        time = datetime.now(UTC) + timedelta(seconds=float(value.removeprefix(_TIME_PREFIX)))
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return [_resolve(each, captured) for each in value]
    return captured.get(value, value) if isinstance(value, str) else value


def normalize_hello(hello: Fields) -> Fields:
    """A hello in the one form of all that mean the same.

    Names and positions stand in any order, of a partition's positions the highest counts, and to
    ask for no rooms is not to ask for rooms.
    """
    normalized = {
        name: sorted(value) if isinstance(value, list) else value for name, value in hello.items()
    }
    if normalized.get("rooms") == []:
        del normalized["rooms"]
    if isinstance(cursor_text := hello.get("cursor"), str):
        cursor, *positions = cursor_text.split(",")
        last_offsets: dict[str, int] = {}
        for partition, _, offset in (position.rpartition(":") for position in positions):
            last_offsets[partition] = max(int(offset), last_offsets.get(partition, 0))
        normalized["cursor"] = ",".join(
            [cursor, *(f"{at}:{last_offsets[at]}" for at in sorted(last_offsets))]
        )
    return normalized


def find_difference(expected_fields: Fields, received: Fields, captured: Fields) -> str | None:
    """How `received` differs from the subset that is wanted of it; None where it does not."""
    for name, expected in expected_fields.items():
        value = _resolve(expected, captured)
        found = received.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            if (nested := find_difference(value, found, captured)) is not None:
                return f"{name}.{nested}"
        elif found != value:
            return f"{name}: {found!r} instead of {value!r}; in {received}"
    return None
