"""One line when a client's connection opens, and one when it closes.

Rule: a storm does not write a line for each client. Beyond 200 lines a second connections are
counted, and one line a minute has the counts. No line has a payload or a token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from bridge.web.http.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.sessions.session import Session

_log = logging.getLogger(__name__)

#: A line costs some 30 us of the event loop.
LINES_PER_SECOND: Final = 200
SUMMARY_SECONDS: Final = 60.0
_is_plain: Final = re.compile(r"[A-Za-z0-9_.:@/+-]+").fullmatch


class ConnectionLog:
    """Logs the connections of one instance."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """`now` is a monotonic clock. `call_later` is the event loop's by default."""
        self._now = now
        self._call_later = call_later
        self._bucket = TokenBucket(LINES_PER_SECOND)
        self._opened_count = self._delivered_count = 0
        self._closed_by_code: Counter[int] = Counter()

    def log_opened(self, session: Session) -> None:
        """Log that a client was welcomed."""
        session.welcomed_at = now = self._now()
        if not _log.isEnabledFor(logging.INFO):
            return
        if self._bucket.acquire(now):
            self._start_summary()
            self._opened_count += 1
            return
        _write("a client connected", _fields(session))

    def log_closed(self, session: Session) -> None:
        """Log that a client that was welcomed has gone, and who closed with which code."""
        if session.welcomed_at is None or not _log.isEnabledFor(logging.INFO):
            return
        now = self._now()
        close, delivered = session.close_code, session.delivered_count
        code = session.client_close_code if close is None else close.code
        if self._bucket.acquire(now):
            self._start_summary()
            self._closed_by_code[code] += 1
            self._delivered_count += delivered
            return
        seconds = round(now - session.welcomed_at, 3)
        more = {"seconds": seconds, "code": code, "delivered": delivered}
        _write("a client disconnected", _fields(session) | more)

    def log_summary(self) -> None:
        """Log how many connections had no line of their own, if any."""
        opened, closed = self._opened_count, self._closed_by_code.total()
        if not opened and not closed:
            return
        codes = {str(code): count for code, count in sorted(self._closed_by_code.items())}
        _write(
            "more clients connected or disconnected than there are lines for",
            {
                "connected": opened,
                "disconnected": closed,
                "codes": codes,
                "delivered": self._delivered_count,
                "seconds": int(SUMMARY_SECONDS),
            },
        )
        self._opened_count = self._delivered_count = 0
        self._closed_by_code.clear()

    def _start_summary(self) -> None:
        """Have the summary written in a minute, if this is the first connection without a line."""
        if self._opened_count or self._closed_by_code:
            return
        call_later = self._call_later or asyncio.get_running_loop().call_later
        call_later(SUMMARY_SECONDS, self.log_summary)


def _fields(session: Session) -> dict[str, Any]:
    return {
        "connection": session.id,
        "account": session.permissions.account,
        "transport": session.connection.kind,
        "address": session.client_address,
    }


def _write(message: str, fields: dict[str, Any]) -> None:
    """Log `fields` behind the message, and as fields of their own for JSON."""
    values = " ".join(f"{name}={_as_text(value)}" for name, value in fields.items())
    _log.info("%s %s", message, values, extra={"fields": fields})


def _as_text(value: object) -> str:
    """Return a value of `key=value`. An account may hold spaces: it is quoted then."""
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, separators=(",", ":"))
