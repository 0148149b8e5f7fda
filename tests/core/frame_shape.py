"""What an event's frame may be, read by a parser that hides nothing.

`json.loads` would keep the last of two members with one name, so a frame that a producer's bytes
had forged could pass; here an object is the list of its members.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from bridge.core.protocol.cursor import read_position

HEAD = ["op", "topic", "at", "to", "id", "type", "time"]
OPTIONAL = ["tag", "meta", "traceparent"]
BODIES = ["data", "data_base64", "deleted"]


def refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def members(text: bytes) -> list[tuple[str, Any]]:
    """The members of the JSON object `text`, numbers left as text: they may be of any size."""
    parsed: list[tuple[str, Any]] = json.loads(
        text.decode(),
        object_pairs_hook=list,
        parse_int=str,
        parse_float=str,
        parse_constant=refused,
    )
    return parsed


def check(frame: bytes) -> dict[str, Any]:
    """Return the members of an event's frame, which has exactly those of the contract, in order."""
    found = members(frame)
    names = [name for name, _ in found]
    extra = [name for name in OPTIONAL if name in names]
    assert names in [[*HEAD, *extra, body] for body in BODIES]
    fields = dict(found)
    assert fields["op"] == "event"
    assert str(read_position(fields["at"])) == fields["at"]
    assert fields["at"].startswith(fields["topic"] + ":")
    texts = {"to", "id", "type", "time", "tag", "traceparent"} & fields.keys()
    assert all(isinstance(fields[name], str) for name in texts)
    if "data_base64" in fields:
        base64.b64decode(fields["data_base64"], validate=True)
    assert fields.get("deleted", True) is True
    return fields
