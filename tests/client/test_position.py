"""A place: the newest cursor, the positions since, and what was seen before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.position import ResumeCursor, split_position
from tests.client.frame_strategies import Frame, frame_sequences, resume_cursor, without_duplicates


def event(at: str) -> Frame:
    return {"op": "event", "at": at}


@given(frame_sequences())
def test_it_comes_back_as_the_client_that_judges_the_core_would(story: list[Frame]) -> None:
    place = ResumeCursor()
    for number, frame in enumerate(story, 1):
        assert place.advance(frame)
        assert place.text == resume_cursor(story[:number])


@given(frame_sequences(duplicates=True))
def test_what_is_not_above_the_last_of_its_partition_is_not_new(story: list[Frame]) -> None:
    place = ResumeCursor()
    assert [frame for frame in story if place.advance(frame)] == without_duplicates(story)


@given(frame_sequences(), st.data())
def test_a_place_kept_and_read_again_is_the_same_place(
    story: list[Frame], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(story)))
    place = ResumeCursor()
    for frame in story[:cut]:
        place.advance(frame)
    again = ResumeCursor(place.text)
    again.advance({"op": "welcome", "cursor": place.text})
    assert again.text == place.text
    since = [frame for frame in story[:cut] if frame["op"] != "event"][-1]
    covered = story[story.index(since) : cut]
    assert not any(again.advance(frame) for frame in covered if frame["op"] == "event")


def test_without_a_cursor_there_is_no_place_although_events_were_seen() -> None:
    place = ResumeCursor()
    assert place.advance(event("t:0:1"))
    assert place.text is None
    assert not place.advance(event("t:0:1"))


def test_a_topic_that_is_forgotten_is_not_another_that_begins_alike() -> None:
    place = ResumeCursor("C1,t:0:7,tt:0:7")
    place.forget_topic("t")
    assert place.text == "C1,tt:0:7"
    assert place.advance(event("t:0:0"))
    assert not place.advance(event("tt:0:7"))


def test_a_frame_without_a_cursor_leaves_the_place() -> None:
    place = ResumeCursor("C1,t:0:7")
    place.advance({"op": "closing", "cursor": None})
    assert place.text == "C1,t:0:7"


@pytest.mark.parametrize(
    "text", ["C1,", "C1,t:0", "C1,t:0:x", "C1,t:0:1,", "C1,t:0:-1", "C1,t:0: 1"]
)
def test_a_text_that_was_garbled_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        ResumeCursor(text)


def test_a_position_is_taken_apart_at_its_last_colon() -> None:
    assert split_position("a.b-c:12:9007199254740993") == ("a.b-c:12", 9007199254740993)
