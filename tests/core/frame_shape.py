"""What an event's frame may be, read by a parser that hides nothing.

`json.loads` would keep the last of two members with one name, so a frame that a producer's bytes
had forged could pass; here an object is the list of its members.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from bridge.core.protocol.cursor import parse_position

REQUIRED_FIELDS = ["op", "topic", "at", "to", "id", "type", "time"]
OPTIONAL_FIELDS = ["tag", "meta", "traceparent"]
BODY_FIELDS = ["data", "data_base64", "deleted"]


def reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def read_members(text: bytes) -> list[tuple[str, Any]]:
    """The members of the JSON object `text`, numbers left as text: they may be of any size."""
    parsed: list[tuple[str, Any]] = json.loads(
        text.decode(),
        object_pairs_hook=list,
        parse_int=str,
        parse_float=str,
        parse_constant=reject_constant,
    )
    return parsed


def check_event_frame(frame: bytes) -> dict[str, Any]:
    """Return the members of an event's frame, which has exactly those of the contract, in order."""
    found = read_members(frame)
    names = [name for name, _ in found]
    extra = [name for name in OPTIONAL_FIELDS if name in names]
    assert names in [[*REQUIRED_FIELDS, *extra, body] for body in BODY_FIELDS]
    fields = dict(found)
    assert fields["op"] == "event"
    assert str(parse_position(fields["at"])) == fields["at"]
    assert fields["at"].startswith(fields["topic"] + ":")
    texts = {"to", "id", "type", "time", "tag", "traceparent"} & fields.keys()
    assert all(isinstance(fields[name], str) for name in texts)
    if "data_base64" in fields:
        base64.b64decode(fields["data_base64"], validate=True)
    assert fields.get("deleted", True) is True
    return fields
