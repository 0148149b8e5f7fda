"""What waits: it is handed out once and in order, and the place is behind what was taken."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.buffer import Inbox
from bridge.client.items import Gap, Item, Live
from bridge.client.position import Place
from tests.client.stories import Frame, bookmark, novel, stories

SILENT = ("heartbeat",)


def item(frame: Frame) -> Item | None:
    """Some item that tells which frame it is of."""
    return None if frame["op"] in SILENT else Gap("t", str(id(frame)), "C", "")


@given(stories(duplicates=True), st.lists(st.booleans()))
def test_however_taking_and_arriving_alternate_it_is_the_same(
    story: list[Frame], turns: list[bool]
) -> None:
    async def play() -> None:
        inbox = Inbox(Place(), 1000)
        arriving, taken = iter(story), list[Frame]()
        by_id = {str(id(frame)): frame for frame in story}
        expected = [frame for frame in novel(story) if item(frame)]

        async def take() -> None:
            got = await inbox.take()
            assert isinstance(got, Gap)
            taken.append(by_id[got.reason])
            covered = story[: story.index(taken[-1]) + 1]
            rest = story[len(covered) :]
            silent = 0
            while silent < len(rest) and rest[silent]["op"] in SILENT:
                silent += 1
            behind = {bookmark(novel(covered + rest[:n])) for n in range(silent + 1)}
            assert inbox._place.text in behind

        for turn in turns:
            if turn and len(taken) < len(expected) and inbox.waiting:
                with_new = asyncio.create_task(take())
                await asyncio.sleep(0)
                if not with_new.done():  # all that waited had been seen
                    with_new.cancel()
                    await asyncio.gather(with_new, return_exceptions=True)
                else:
                    with_new.result()
            elif (frame := next(arriving, None)) is not None:
                inbox.put(frame, item(frame))
        for frame in arriving:
            inbox.put(frame, item(frame))
        while len(taken) < len(expected):
            await take()
        assert taken == expected
        inbox.end()
        assert await inbox.take() is None
        assert inbox.waiting == 0
        assert inbox._place.text == bookmark(novel(story))

    asyncio.run(play())


def event(offset: int) -> tuple[Frame, Item]:
    return {"op": "event", "at": f"t:0:{offset}"}, Live(offset, "", "")


async def test_a_cursor_counts_when_all_before_it_was_taken() -> None:
    inbox = Inbox(place := Place("C0"), 10)
    inbox.put(*event(1))
    inbox.put(*event(2))
    inbox.put({"op": "heartbeat", "cursor": "C1"}, None)
    inbox.put({"op": "closing", "cursor": "C2"}, None)
    inbox.put({"op": "closing", "cursor": None}, None)
    assert place.text == "C0"
    await inbox.take()
    assert place.text == "C0,t:0:1"
    await inbox.take()
    assert place.text == "C2"
    inbox.put({"op": "heartbeat", "cursor": "C3"}, None)
    assert place.text == "C3"


async def test_cursors_alone_take_no_room() -> None:
    inbox = Inbox(Place("C0"), 1)
    inbox.put(*event(1))
    for number in range(1000):
        inbox.put({"op": "heartbeat", "cursor": f"C{number}"}, None)
    assert (inbox.waiting, len(inbox._entries)) == (1, 2)


async def test_who_brings_more_than_there_is_room_for_waits_until_something_is_taken() -> None:
    inbox = Inbox(Place(), 2)
    inbox.put(*event(1))
    await inbox.room()
    inbox.put(*event(2))
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.take()
    await waiting


async def test_what_was_let_go_is_not_taken_and_makes_room() -> None:
    inbox = Inbox(place := Place("C0"), 1)
    inbox.put(*event(1))
    waiting = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    inbox.clear()
    await waiting
    inbox.put(None, Live(7, "", ""))
    assert await inbox.take() == Live(7, "", "")
    assert place.text == "C0"


async def test_what_waits_is_handed_out_before_the_end_and_its_error_again_and_again() -> None:
    inbox = Inbox(Place(), 10)
    inbox.put(*event(1))
    inbox.end(LookupError("over"))
    assert await inbox.take() == Live(1, "", "")
    for _ in range(2):
        with pytest.raises(LookupError):
            await inbox.take()


async def test_a_take_that_is_cancelled_takes_nothing() -> None:
    inbox = Inbox(Place(), 10)
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.put(*event(1))
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert await inbox.take() == Live(1, "", "")
