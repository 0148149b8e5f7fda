"""What backends are told about clients: the records of the lifecycle topic.

Rule: they are native envelopes without an audience, so that no client ever gets one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import Present

#: The code of one that was lost with its instance (RFC 6455, 7.4.1: closed abnormally).
LOST: Final = 1006
_write: Final = msgspec.json.Encoder().encode


class Notice(NamedTuple):
    """A record of the lifecycle topic, keyed by account, room or topic."""

    key: bytes | None
    value: bytes


def connected(present: Present) -> Notice:
    """Say that a client has come."""
    return _notice("connected", present.account, **_about(present))


def disconnected(present: Present, code: int, reason: str = "") -> Notice:
    """Say that a client has gone, with the code and reason of its close."""
    told = {"reason": reason} if reason else {}
    return _notice("disconnected", present.account, **_about(present), code=code, **told)


def occupied(kind: str, name: str) -> Notice:
    """Say that a "room" or "topic" has got its first connection anywhere."""
    return _notice("occupied", name, **{kind: name})


def vacated(kind: str, name: str) -> Notice:
    """Say that a "room" or "topic" has been empty for a while."""
    return _notice("vacated", name, **{kind: name})


def _about(present: Present) -> dict[str, Any]:
    account = {} if present.account is None else {"account": present.account}
    about = {"connection": present.id, **account, "instance": present.instance}
    return {**about, "address": present.address} if present.address else about


def _notice(type: str, key: str | None, **data: Any) -> Notice:  # noqa: ANN401 - JSON
    return Notice(None if key is None else key.encode(), _write({"type": type, "data": data}))
