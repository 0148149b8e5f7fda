"""Contract 5.2: outbox bytes, beyond which it still takes one event; promise 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sessions.session import Outbox


def test_frames_are_taken_oldest_first() -> None:
    outbox = Outbox()
    assert outbox.try_append(b"one", 10)
    outbox.append(b"two")
    assert outbox.pending_bytes == 6
    assert outbox.pop(10) == b"onetwo"
    assert outbox.pending_bytes == 0
    assert outbox.pop(10) == b""


def test_below_its_ceiling_it_takes_one_more_event_however_large() -> None:
    outbox = Outbox()
    assert outbox.try_append(b"x" * 9, 10)
    assert outbox.try_append(b"y" * 1000, 10)
    assert not outbox.try_append(b"z", 10)
    assert outbox.pop(2000) == b"x" * 9 + b"y" * 1000


def test_at_its_ceiling_it_takes_no_more_and_keeps_what_it_has() -> None:
    outbox = Outbox()
    assert outbox.try_append(b"x" * 10, 10)
    assert not outbox.try_append(b"", 10)
    assert outbox.pending_bytes == 10
    assert outbox.pop(10) == b"x" * 10
    assert outbox.try_append(b"again", 10)


def test_what_the_bridge_itself_says_is_never_refused() -> None:
    outbox = Outbox()
    outbox.append(b"x" * 10)
    outbox.append(b"closing")
    assert outbox.pop(100) == b"x" * 10 + b"closing"


def test_no_more_than_the_budget_is_taken_but_one_frame_at_least() -> None:
    outbox = Outbox()
    for frame in (b"aaaa", b"bb", b"cc", b"d"):
        outbox.append(frame)
    assert outbox.pop(3) == b"aaaa"
    assert outbox.pending_bytes == 5
    assert outbox.pop(4) == b"bbcc"
    assert outbox.pending_bytes == 1
    assert outbox.pop(0) == b"d"


def test_a_cleared_outbox_is_an_empty_one() -> None:
    outbox = Outbox()
    outbox.append(b"x" * 10)
    outbox.clear()
    assert outbox.pending_bytes == 0
    assert outbox.try_append(b"y", 1)
    assert outbox.pop(10) == b"y"


frames = st.binary(min_size=1, max_size=6)


@given(st.lists(st.tuples(frames, st.booleans()) | st.integers(0, 15)), st.integers(0, 12))
def test_frames_leave_whole_in_order_and_none_is_lost_in_silence(
    steps: list[tuple[bytes, bool] | int], ceiling: int
) -> None:
    outbox, waiting = Outbox(), list[bytes]()
    for step in steps:
        if isinstance(step, int):
            taken = outbox.pop(step)
            count = 0
            while b"".join(waiting[:count]) != taken:
                count += 1
            assert count == 1 or len(taken) <= step
            assert count == len(waiting) or len(b"".join(waiting[: count + 1])) > step
            del waiting[:count]
        elif step[1]:
            outbox.append(step[0])
            waiting.append(step[0])
        else:
            room = len(b"".join(waiting)) < ceiling
            assert outbox.try_append(step[0], ceiling) == room
            waiting += [step[0]] * room
        assert outbox.pending_bytes == len(b"".join(waiting))
    assert outbox.pop(2**40) == b"".join(waiting)


@pytest.mark.parametrize("size", [4, 4095, 4096, 100_000])
def test_what_is_inserted_stands_before_the_end_of_the_newest_frame(size: int) -> None:
    outbox = Outbox()
    newest = b"x" * (size - 1)
    outbox.append(b"one\n")
    outbox.append(newest + b"\n")
    outbox.insert_before_end(b"id", 1)
    assert outbox.pending_bytes == 4 + size + 2
    assert outbox.pop(size + 6) == b"one\n" + newest + b"id\n"
    assert outbox.pending_bytes == 0


@pytest.mark.parametrize("size", [4, 100_000])
def test_a_frame_with_an_insertion_is_popped_whole(size: int) -> None:
    outbox = Outbox()
    frames = [letter * (size - 1) for letter in (b"a", b"b")]
    for frame in frames:
        outbox.append(frame + b"\n")
        outbox.insert_before_end(b"id", 1)
        outbox.insert_before_end(b"id", 1)
    for frame in frames:
        assert outbox.pop(1) == frame + b"idid\n"


def test_a_large_frame_is_not_copied_for_one_session() -> None:
    large = b"x" * 100_000
    outbox = Outbox()
    outbox.append(large)
    outbox.insert_before_end(b"id", 1)
    view = outbox._frames[0]
    assert isinstance(view, memoryview)
    assert view.obj is large
