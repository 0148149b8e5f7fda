"""Questions to the backend: single flight, cache, breaker, signature, and what is no answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.auth.callback import client as client_module
from bridge.web.auth.callback.client import CallbackClient, CallbackUnavailable
from tests.web.auth.callback.callback_backend import CallbackBackend, callback_backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION = {"ask": "connect", "token": "a-secret-token", "headers": {"cookie": "sid=secret"}}


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def backend() -> AsyncIterator[CallbackBackend]:
    async with callback_backend() as running:
        yield running


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def asker(backend: CallbackBackend, clock: Clock) -> AsyncIterator[CallbackClient]:
    client = CallbackClient(
        backend.url, timeout_seconds=5, secret="s" * 32, now=clock, wall_clock=clock
    )
    yield client
    client.close()


async def test_many_with_one_ask_cause_one_question(
    backend: CallbackBackend, asker: CallbackClient
) -> None:
    backend.may_answer.clear()
    asking = [asyncio.create_task(asker.ask(QUESTION)) for _ in range(50)]
    other = asyncio.create_task(asker.ask({**QUESTION, "token": "another"}))
    while len(backend.questions) < 2:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    asking.pop().cancel()
    backend.may_answer.set()
    assert {(await each).answer.account for each in [*asking, other]} == {"alice"}
    assert len(backend.questions) == 2


async def test_an_answer_counts_for_the_same_ask_as_long_as_it_says(
    backend: CallbackBackend, asker: CallbackClient, clock: Clock
) -> None:
    for status in (200, 401, 403):
        backend.questions.clear()
        backend.status = status
        backend.answer = {"account": "alice", "cache": 10}
        question = {**QUESTION, "token": str(status)}
        first = await asker.ask(question)
        clock.now += 9.9
        assert await asker.ask(question) == first
        assert len(backend.questions) == 1
        await asker.ask({**question, "address": "another"})
        assert len(backend.questions) == 2
        clock.now += 0.2
        await asker.ask(question)
        assert len(backend.questions) == 3


async def test_an_answer_without_cache_is_asked_again(
    backend: CallbackBackend, asker: CallbackClient
) -> None:
    for _ in range(3):
        await asker.ask(QUESTION)
    assert len(backend.questions) == 3


async def test_a_cached_grant_does_not_outlive_its_end(
    backend: CallbackBackend, asker: CallbackClient, clock: Clock
) -> None:
    backend.answer = {"account": "alice", "cache": 100, "expires_in": 10}
    await asker.ask(QUESTION)
    clock.now += 11
    await asker.ask(QUESTION)
    assert len(backend.questions) == 2


async def test_cached_answers_take_a_bounded_memory(
    backend: CallbackBackend, asker: CallbackClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_CACHED_ANSWERS", 2)
    backend.answer = {"account": "alice", "cache": 100}
    for number in range(5):
        await asker.ask({**QUESTION, "token": str(number)})
    assert len(asker._cache) == 2


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, None),
        (503, {"account": "alice"}),
        (404, None),
        (302, None),
        (307, None),
        (204, None),
        (201, {"account": "alice"}),
        (200, None),
        (200, []),
        (200, {}),
        (200, {"account": ""}),
        (200, {"account": "a*"}),
        (200, {"account": 5}),
        (200, {"account": "alice", "rooms": "lobby"}),
        (200, {"account": "alice", "expires_in": "soon"}),
        (200, {"account": "alice", "expires_in": -1}),
    ],
    ids=str,
)
async def test_whatever_is_no_yes_and_no_no_is_unavailable(
    backend: CallbackBackend,
    asker: CallbackClient,
    caplog: pytest.LogCaptureFixture,
    status: int,
    answer: Any,
) -> None:
    backend.status, backend.answer = status, answer
    with pytest.raises(CallbackUnavailable):
        await asker.ask(QUESTION)
    assert len(backend.questions) == 1, "a redirect is not followed"
    (said,) = caplog.records
    assert "BRIDGE_AUTH__CALLBACK_URL" in said.getMessage()


async def test_after_five_failures_in_a_row_nothing_is_asked_for_five_seconds(
    backend: CallbackBackend, asker: CallbackClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    backend.status = 500
    for _ in range(5):
        with pytest.raises(CallbackUnavailable):
            await asker.ask(QUESTION)
    for waited in (0, 4.9):
        clock.now = 1000 + waited
        with pytest.raises(CallbackUnavailable):
            await asker.ask({**QUESTION, "token": "another"})
    assert len(backend.questions) == 5
    clock.now = 1005.1
    backend.status = 200
    await asker.ask(QUESTION)
    assert len(backend.questions) == 6
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1, "an outage is logged once a minute"


async def test_four_failures_and_a_no_do_not_open_the_breaker(
    backend: CallbackBackend, asker: CallbackClient
) -> None:
    for statuses in ((500, 500, 500, 500, 401), (500, 500, 500, 500, 403)):
        for backend.status in statuses:
            try:
                await asker.ask(QUESTION)
            except CallbackUnavailable:
                assert backend.status == 500
    assert len(backend.questions) == 10


async def test_a_backend_that_does_not_answer_is_given_up(backend: CallbackBackend) -> None:
    backend.may_answer.clear()
    client = CallbackClient(backend.url, timeout_seconds=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(CallbackUnavailable):
            await client.ask(QUESTION)
    client.close()


async def test_a_secret_signs_the_body(backend: CallbackBackend, asker: CallbackClient) -> None:
    await asker.ask(QUESTION)
    signed = b"1000." + backend.bodies[0]
    digest = hmac.new(b"s" * 32, signed, hashlib.sha256).hexdigest()
    assert backend.heads[0]["Push-Bridge-Signature"] == f"t=1000,v1={digest}"
    assert backend.heads[0]["method"] == "POST"


async def test_no_header_token_or_answer_is_logged(
    backend: CallbackBackend, asker: CallbackClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for raw in (
        None,
        b"HTTP/1.1 500 answer-secret\r\nContent-Length: 13\r\n\r\nanswer-secret",
        b"answer-secret\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{"account": ["answer-secret"]}',
    ):
        backend.raw = raw
        try:
            await asker.ask(QUESTION)
        except CallbackUnavailable:
            assert raw is not None
        asker._may_log_at = float("-inf")
    logged = "\n".join(f"{each.getMessage()} {each.exc_info}" for each in caplog.records)
    assert "callback fails" in logged
    assert "secret" not in logged
