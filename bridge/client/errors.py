"""The errors of a client, and how a connection ended: `code` for programs, `reason` for people.

Rule: only what ends the client or one of its requests is an error. Temporary failures are items
(`Disconnected`, `Warned`).
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
CONNECTION_BROKEN: Final = "the connection broke"
_FINAL_CLOSE_CODES: Final = range(4500, 4600)
_HTTP_CLIENT_ERRORS: Final = range(400, 500)
_RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})


class ClientError(Exception):
    """The base class of all errors of a client."""

    def __init__(self, code: int | str, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(ClientError):
    """The client has ended: `code` is a close code 45xx, or an HTTP status."""

    code: int


class Rejected(ClientError):
    """A subscription was refused and had no effect: `forbidden`, `limit`, `bad_frame`.

    `code` is `closed` if the client was closed before the reply.
    """

    code: str


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """Why a connection ended: `code` is a close code or an HTTP status, None if it broke."""

    code: int | None
    reason: str
    retry_after_seconds: float | None = None
    closing_text: str | None = None

    @property
    def is_final(self) -> bool:
        """True if the client must not reconnect."""
        if self.code is None:
            return False
        return self.code in _FINAL_CLOSE_CODES or (
            self.code in _HTTP_CLIENT_ERRORS and self.code not in _RETRYABLE_STATUSES
        )


def end_from_close(
    error: ConnectionClosed, closing_frame: Frame | None, closing_text: str | None
) -> ConnectionEnd:
    """Return the end of a WebSocket; `closing_frame` is the `closing` frame before it, if any."""
    fields = closing_frame or {}
    code = error.rcvd.code if error.rcvd else fields.get("code")
    reason = (error.rcvd.reason if error.rcvd else "") or fields.get("reason") or CONNECTION_BROKEN
    return ConnectionEnd(code, reason, fields.get("retry_after"), closing_text)


def end_from_http_response(response: Response, now: datetime | None = None) -> ConnectionEnd:
    """Return the end of an attempt that got an HTTP response instead of a WebSocket."""
    body = bytes(response.body or b"").decode(errors="replace").strip()
    try:
        reason = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        reason = body or response.reason_phrase
    header = response.headers.get("Retry-After", "")
    return ConnectionEnd(
        response.status_code, reason, parse_retry_after(header, now or datetime.now(UTC))
    )


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After`, given as seconds or a date; None if it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        retry_at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(
        0.0, (retry_at - (now if retry_at.tzinfo else now.replace(tzinfo=None))).total_seconds()
    )
