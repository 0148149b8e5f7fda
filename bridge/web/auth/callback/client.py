"""Asks the backend over HTTP: one question at a time for the same ask, a cache, and a breaker.

Rules: a yes or a no is only what the backend said in time; everything else is "come back later". No
header, token or answer is logged. Memory is bounded, whatever clients ask.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bridge.core.protocol.names import is_valid_name
from bridge.web.auth.fetch import redact_location
from bridge.web.auth.http_client import HttpClient, HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIGNATURE_HEADER: Final = "Push-Bridge-Signature"
MAX_ANSWER_BYTES: Final = 1 << 18
MAX_CACHED_ANSWERS: Final = 10_000
MAX_CONCURRENT_ASKS: Final = 100
#: After so many failures in a row nothing is asked for so long.
MAX_FAILURES: Final = 5
OPEN_SECONDS: Final = 5.0
_LOG_INTERVAL_SECONDS: Final = 60.0
_DECISIONS: Final = {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

_log = logging.getLogger(__name__)


class CallbackUnavailable(Exception):
    """The backend gave no usable answer in time, or is not asked now."""


class Answer(msgspec.Struct):
    """The members of an answer's JSON that are used. `cache` and `expires_in` are in seconds."""

    account: str | None = None
    topics: list[str] | None = None
    rooms: list[str] | None = None
    expires_in: float | None = None
    cache: float = 0


class Decision(NamedTuple):
    """What the backend decided, and when it was asked, in seconds since 1970."""

    status: int
    answer: Answer
    asked_at: float


class CallbackClient:
    """Asks `url`; `secret` signs the questions."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        secret: str | None = None,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`now` is a monotonic clock; `wall_clock` returns seconds since 1970."""
        self._http = HttpClient(
            url, timeout_seconds=timeout_seconds, max_bytes=MAX_ANSWER_BYTES, keeps_alive=True
        )
        self._redacted_url = redact_location(url)
        self._timeout_seconds = timeout_seconds
        self._secret = None if secret is None else secret.encode("utf-8", "surrogateescape")
        self._now = now
        self._wall_clock = wall_clock
        self._running: dict[bytes, asyncio.Task[Decision]] = {}
        self._cache: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_ASKS)
        self._failures = 0
        self._closed_until = float("-inf")
        self._may_log_at = float("-inf")

    async def ask(self, question: Mapping[str, Any]) -> Decision:
        """Return the decision on `question`.

        Raises:
            CallbackUnavailable: If there is none now.

        Cancellation: safe; it does not affect others who wait for the same question.
        """
        body = msgspec.json.encode(question, order="sorted")
        key = hashlib.sha256(body).digest()  # credentials are not kept
        if (cached := self._cached(key)) is not None:
            return cached
        if self._now() < self._closed_until:
            raise CallbackUnavailable
        task = self._running.get(key)
        if task is None:
            asking = self._ask(key, body, needs_account=question["ask"] == "connect")
            self._running[key] = task = asyncio.create_task(asking, name="callback")
            task.add_done_callback(lambda ended: self._forget(key, ended))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _forget(self, key: bytes, task: asyncio.Task[Decision]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # everybody who waited may have gone

    def _cached(self, key: bytes) -> Decision | None:
        valid_until, decision = self._cache.get(key, (float("-inf"), None))
        if self._now() < valid_until:
            return decision
        self._cache.pop(key, None)
        return None

    async def _ask(self, key: bytes, body: bytes, *, needs_account: bool) -> Decision:
        asked_at = self._wall_clock()
        try:
            async with asyncio.timeout(self._timeout_seconds), self._slots:
                response = await self._http.request("POST", self._headers(body, asked_at), body)
            decision = _decide(response, asked_at, needs_account=needs_account)
        except (OSError, ValueError) as error:
            self._count_failure(error)
            raise CallbackUnavailable from None
        if self._failures:
            _log.info("the authorization callback answers again url=%s", self._redacted_url)
        self._failures = 0
        self._remember(key, decision)
        return decision

    def _headers(self, body: bytes, asked_at: float) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            seconds = str(int(asked_at))
            signed = seconds.encode() + b"." + body
            digest = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
            headers[SIGNATURE_HEADER] = f"t={seconds},v1={digest}"
        return headers

    def _remember(self, key: bytes, decision: Decision) -> None:
        answer = decision.answer
        seconds = answer.cache
        if decision.status == HTTPStatus.OK and answer.expires_in is not None:
            seconds = min(seconds, answer.expires_in)
        if seconds <= 0:
            return
        self._cache[key] = (self._now() + seconds, decision)
        if len(self._cache) > MAX_CACHED_ANSWERS:
            self._cache.popitem(last=False)

    def _count_failure(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._closed_until = self._now() + OPEN_SECONDS
        if self._now() >= self._may_log_at:
            self._may_log_at = self._now() + _LOG_INTERVAL_SECONDS
            _log.warning(
                "the authorization callback fails, clients are told to come back later; check"
                " BRIDGE_AUTH__CALLBACK_URL: %s url=%s failures=%d",
                error,
                self._redacted_url,
                self._failures,
            )


def _decide(response: HttpResponse, asked_at: float, *, needs_account: bool) -> Decision:
    """Return the decision in `response`.

    Raises:
        ValueError: If there is none in it. The message shows nothing of it but the status.
    """
    if response.status not in _DECISIONS:
        raise ValueError(f"HTTP status {response.status}")
    try:
        answer = msgspec.json.decode(response.body, type=Answer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        if response.status == HTTPStatus.OK:
            raise ValueError("the answer is not the JSON that docs/authorization.md has") from None
        answer = Answer()  # a no needs no body
    is_yes = response.status == HTTPStatus.OK
    if is_yes and needs_account and not is_valid_name(answer.account or ""):
        raise ValueError("the answer has no valid `account`")
    if answer.expires_in is not None and answer.expires_in < 0:
        raise ValueError("`expires_in` is negative")
    return Decision(response.status, answer, asked_at)
