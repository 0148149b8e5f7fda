"""The whole client: what no conformance scenario can ask, because it is Python's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.client import (
    Client,
    Connected,
    Disconnected,
    Event,
    Refused,
    Rejected,
    State,
    Warned,
)
from tests.client.bridge_stub import WELCOME, StubConnection, event_frame, running_bridge

if TYPE_CHECKING:
    from bridge.client import Item

QUICK: dict[str, Any] = {"backoff": (0.01, 0.05), "dial": {"proxy": None}}


async def welcoming(guest: StubConnection) -> None:
    await guest.send(WELCOME, event_frame("t:0:1", data=1), event_frame("t:0:2", data=2))
    await guest.wait_closed()


async def the(kind: type[Item], client: Client) -> Any:
    """The next item of a kind."""
    async for item in client:
        if isinstance(item, kind):
            return item
    raise AssertionError(f"no {kind}")


async def test_closed_client_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with running_bridge(welcoming) as url:
        served = asyncio.all_tasks()
        async with Client(url, token=lambda: "t", **QUICK) as client:
            assert (await the(Event, client)).data == 1
            assert asyncio.all_tasks() > served
        assert client.state is State.CLOSED
        assert client.connection is None
        assert not {task for task in asyncio.all_tasks() - served if "client" in task.get_name()}
    assert asyncio.all_tasks() == before


async def test_error_in_the_body_closes_the_client() -> None:
    async def fails(client: Client) -> None:
        async with client:
            await the(Event, client)
            raise LookupError

    async with running_bridge(welcoming) as url:
        client = Client(url, **QUICK)
        with pytest.raises(LookupError):
            await fails(client)
        assert client.state is State.CLOSED


async def test_iteration_starts_the_client_and_close_ends_it() -> None:
    async with running_bridge(welcoming) as url:
        client = Client(url, **QUICK)
        assert client.state is State.IDLE
        seen = []
        async for item in client:
            seen.append(type(item))
            if len(seen) == 2:
                await client.close()
        assert seen == [Connected, Event]
        assert [item async for item in client] == []
        await client.close()


async def test_events_skips_other_items() -> None:
    async with running_bridge(welcoming) as url, Client(url, **QUICK) as client:
        events = client.events()
        assert [(await anext(events)).data, (await anext(events)).data] == [1, 2]
        await events.aclose()


async def test_resume_from_continues_in_another_client() -> None:
    hellos = []

    async def treat(guest: StubConnection) -> None:
        hellos.append(guest.hello)
        await welcoming(guest)

    async with running_bridge(treat) as url:
        async with Client(url, **QUICK) as first:
            await the(Event, first)
        async with Client(url, resume_from=first.resume_from, **QUICK) as second:
            assert (await the(Event, second)).offset == 2, "what was taken is not handed out again"
    assert [hello.get("cursor") for hello in hellos] == [None, "C0,t:0:1"]


async def test_each_attempt_uses_the_next_url() -> None:
    came = []

    async def first(guest: StubConnection) -> None:
        came.append(1)
        await guest.connection.close(4001)

    async def second(guest: StubConnection) -> None:
        came.append(2)
        await guest.connection.close(4001)

    async with (
        running_bridge(first) as one,
        running_bridge(second) as two,
        Client([one, two], **QUICK) as client,
    ):
        for _ in range(4):
            await the(Disconnected, client)
    assert came[:4] == [1, 2, 1, 2]


async def test_failing_token_callback_is_a_failed_attempt() -> None:
    tokens: list[Any] = [OSError("no network"), "t2"]
    hellos = []

    async def fetch() -> str:
        token = tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return str(token)

    async def treat(guest: StubConnection) -> None:
        hellos.append(guest.hello)
        await welcoming(guest)

    async with running_bridge(treat) as url, Client(url, token=fetch, **QUICK) as client:
        assert "no network" in (await the(Disconnected, client)).reason
        await the(Connected, client)
    assert hellos == [{"op": "hello", "token": "t2"}]


async def test_failing_renewal_warns_and_is_retried() -> None:
    tokens = iter(["t1", None, "t3"])
    renewed = asyncio.Event()

    def fetch() -> str:
        if (token := next(tokens)) is None:
            raise OSError("no network")
        return token

    async def treat(guest: StubConnection) -> None:
        await guest.send({**WELCOME, "expires": "2020-01-01T00:00:00Z"})
        assert (await guest.receive())["token"] == "t3"
        renewed.set()
        await guest.wait_closed()

    async with (
        running_bridge(treat) as url,
        Client(url, token=fetch, renew_seconds=0.05, **QUICK) as client,
    ):
        warned = await the(Warned, client)
        assert (warned.code, "no network" in warned.reason) == ("no_token", True)
        await renewed.wait()


async def test_refusal_is_raised_behind_waiting_items() -> None:
    async def treat(guest: StubConnection) -> None:
        await guest.send(WELCOME, event_frame("t:0:1"))
        await guest.connection.close(4504, "go away")

    over = asyncio.Event()

    def on_state(state: State) -> None:
        if state is State.CLOSED:
            over.set()

    async with running_bridge(treat) as url, Client(url, on_state=on_state, **QUICK) as client:
        await over.wait()
        await the(Event, client)
        for _ in range(2):
            with pytest.raises(Refused, match="4504 go away") as refused:
                await anext(client)
        assert (refused.value.code, refused.value.reason) == (4504, "go away")
        with pytest.raises(Rejected, match="closed"):
            await client.subscribe(rooms=["r"])


async def test_an_error_of_on_state_reaches_the_user() -> None:
    def on_state(state: State) -> None:
        if state is State.LIVE:
            raise ZeroDivisionError

    async with running_bridge(welcoming) as url:
        client = Client(url, on_state=on_state, **QUICK)
        with pytest.raises(ZeroDivisionError):
            await the(Event, client)
        assert client.state is State.CLOSED


async def test_topic_request_follows_the_welcome_with_default_topics() -> None:
    hellos = []

    async def treat(guest: StubConnection) -> None:
        hellos.append(guest.hello)
        await guest.send(WELCOME)
        request = await guest.receive()
        topics = ["t", *request["topics"]]
        told = {"topics": topics, "rooms": ["r"], "cursor": "C1", "id": request["id"]}
        await guest.send({"op": "reply", "ok": True, **told})
        await guest.wait_closed()

    async with running_bridge(treat) as url:
        client = Client(url, **QUICK)
        asking = asyncio.create_task(client.subscribe(topics=["private"], rooms=["r"]))
        await asyncio.sleep(0)
        async with client:
            assert (await asking).topics == ("t", "private")
    assert hellos == [{"op": "hello"}]


async def test_unsubscribe_returns_the_rooms_that_the_backend_keeps() -> None:
    async def treat(guest: StubConnection) -> None:
        await guest.send(WELCOME)
        for kept in ({"kept": ["r"]}, {}):
            request = await guest.receive()
            told = {"topics": ["t"], "rooms": ["r"], "cursor": "C1", "id": request["id"], **kept}
            await guest.send({"op": "reply", "ok": True, **told})
        await guest.wait_closed()

    async with running_bridge(treat) as url, Client(url, **QUICK) as client:
        await the(Connected, client)
        assert (await client.unsubscribe(rooms=["r"])).kept == ("r",)
        assert (await client.subscribe(rooms=["r"])).kept == ()


@pytest.mark.parametrize("frame", ["nonsense", "[]", '{"op":"event"}', '{"op":"live"}'])
async def test_malformed_frame_ends_the_connection(frame: str) -> None:
    async def treat(guest: StubConnection) -> None:
        await guest.send(WELCOME)
        await guest.connection.send(frame)
        await guest.wait_closed()

    async with running_bridge(treat) as url, Client(url, **QUICK) as client:
        assert "breaks the protocol" in (await the(Disconnected, client)).reason


@pytest.mark.parametrize("cursor", ["C1,t", "C1,", 7])
async def test_malformed_cursor_is_never_kept(cursor: object) -> None:
    async def treat(guest: StubConnection) -> None:
        await guest.send(WELCOME, {"op": "heartbeat", "cursor": cursor})
        await guest.wait_closed()

    async with running_bridge(treat) as url, Client(url, **QUICK) as client:
        await the(Disconnected, client)
        assert client.resume_from == "C0"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": "ftp://a"}, ValueError),
        ({"url": []}, ValueError),
        ({"url": "a", "queue": 0}, ValueError),
        ({"url": "a", "resume_from": "C1,nowhere"}, ValueError),
        ({"url": "a", "rooms": "r"}, TypeError),
        ({"url": "a", "topics": "t"}, TypeError),
        ({"url": "a", "types": "t"}, TypeError),
    ],
)
def test_wrong_options_raise_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Client(**options)
