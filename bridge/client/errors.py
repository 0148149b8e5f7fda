"""What may go wrong for good. Each has a `code` for programs and a `reason` for people.

The rule kept here: what passes by itself is no error but an item (`Disconnected`, `Warned`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Response

    from bridge.client.frames import Frame

UNAUTHENTICATED: Final = 4500
BROKE: Final = "the connection broke"
_FINAL = range(4500, 4600)
_NO = range(400, 500)
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class End:
    """`code` is a close code or an HTTP status, None where it broke."""

    code: int | None
    reason: str
    retry_after: float | None = None
    frame: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the client is not to come back."""
        if self.code is None:
            return False
        return self.code in _FINAL or (self.code in _NO and self.code not in _LATER)


def closed(error: ConnectionClosed, closing: Frame | None, frame: str | None) -> End:
    """Return the end of a connection; `closing` is the frame that announced it, if one did."""
    told = closing or {}
    code = error.rcvd.code if error.rcvd else told.get("code")
    reason = (error.rcvd.reason if error.rcvd else "") or told.get("reason") or BROKE
    return End(code, reason, told.get("retry_after"), frame)


def refused(response: Response, now: datetime | None = None) -> End:
    """Return the end of an attempt that HTTP answered."""
    body = bytes(response.body or b"").decode(errors="replace").strip()
    try:
        reason = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        reason = body or response.reason_phrase
    after = response.headers.get("Retry-After", "")
    return End(response.status_code, reason, retry_after(after, now or datetime.now(UTC)))


def retry_after(text: str, now: datetime) -> float | None:
    """Read a `Retry-After`: seconds, or a date; None where it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (then - (now if then.tzinfo else now.replace(tzinfo=None))).total_seconds())


class ClientError(Exception):
    """Anything that a client raises."""

    def __init__(self, code: int | str, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(ClientError):
    """The client is over: `code` is a close code of 45xx, or the HTTP status that refused it."""

    code: int


class Rejected(ClientError):
    """A subscription was refused and had no effect: `forbidden`, `limit`, `bad_frame`.

    `closed` where the client was closed before the answer came.
    """

    code: str
