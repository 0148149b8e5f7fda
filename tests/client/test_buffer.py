"""What waits: it is handed out once and in order, and the place is behind what was taken."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.buffer import Buffer
from bridge.client.items import Gap, Item, Live
from bridge.client.position import ResumeCursor
from tests.client.frame_strategies import Frame, frame_sequences, resume_cursor, without_duplicates

SILENT = ("heartbeat",)


def item(frame: Frame) -> Item | None:
    """Some item that tells which frame it is of."""
    return None if frame["op"] in SILENT else Gap("t", str(id(frame)), "C", "")


@given(frame_sequences(duplicates=True), st.lists(st.booleans()))
def test_get_and_put_interleave_in_any_order(story: list[Frame], turns: list[bool]) -> None:
    async def play() -> None:
        inbox = Buffer(ResumeCursor(), 1000)
        arriving, taken = iter(story), list[Frame]()
        by_id = {str(id(frame)): frame for frame in story}
        expected = [frame for frame in without_duplicates(story) if item(frame)]

        async def take() -> None:
            got = await inbox.get()
            assert isinstance(got, Gap)
            taken.append(by_id[got.reason])
            covered = story[: story.index(taken[-1]) + 1]
            rest = story[len(covered) :]
            silent = 0
            while silent < len(rest) and rest[silent]["op"] in SILENT:
                silent += 1
            behind = {
                resume_cursor(without_duplicates(covered + rest[:n])) for n in range(silent + 1)
            }
            assert inbox._cursor.text in behind

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
        inbox.close()
        assert await inbox.get() is None
        assert inbox.waiting == 0
        assert inbox._cursor.text == resume_cursor(without_duplicates(story))

    asyncio.run(play())


def event(offset: int) -> tuple[Frame, Item]:
    return {"op": "event", "at": f"t:0:{offset}"}, Live(offset, "", "")


async def test_cursor_advances_once_earlier_items_are_taken() -> None:
    inbox = Buffer(place := ResumeCursor("C0"), 10)
    inbox.put(*event(1))
    inbox.put(*event(2))
    inbox.put({"op": "heartbeat", "cursor": "C1"}, None)
    inbox.put({"op": "closing", "cursor": "C2"}, None)
    inbox.put({"op": "closing", "cursor": None}, None)
    assert place.text == "C0"
    await inbox.get()
    assert place.text == "C0,t:0:1"
    await inbox.get()
    assert place.text == "C2"
    inbox.put({"op": "heartbeat", "cursor": "C3"}, None)
    assert place.text == "C3"


async def test_cursors_do_not_fill_the_buffer() -> None:
    inbox = Buffer(ResumeCursor("C0"), 1)
    inbox.put(*event(1))
    for number in range(1000):
        inbox.put({"op": "heartbeat", "cursor": f"C{number}"}, None)
    assert (inbox.waiting, len(inbox._entries)) == (1, 2)


async def test_full_buffer_blocks_until_an_item_is_taken() -> None:
    inbox = Buffer(ResumeCursor(), 2)
    inbox.put(*event(1))
    await inbox.wait_for_space()
    inbox.put(*event(2))
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.get()
    await waiting


async def test_cleared_items_are_not_taken_and_free_space() -> None:
    inbox = Buffer(place := ResumeCursor("C0"), 1)
    inbox.put(*event(1))
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    inbox.clear()
    await waiting
    inbox.put(None, Live(7, "", ""))
    assert await inbox.get() == Live(7, "", "")
    assert place.text == "C0"


async def test_waiting_items_come_before_the_error() -> None:
    inbox = Buffer(ResumeCursor(), 10)
    inbox.put(*event(1))
    inbox.close(LookupError("over"))
    assert await inbox.get() == Live(1, "", "")
    for _ in range(2):
        with pytest.raises(LookupError):
            await inbox.get()


async def test_cancelled_get_takes_nothing() -> None:
    inbox = Buffer(ResumeCursor(), 10)
    taking = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put(*event(1))
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert await inbox.get() == Live(1, "", "")
