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
def test_cursor_equals_that_of_the_replay_client(story: list[Frame]) -> None:
    place = ResumeCursor()
    for number, frame in enumerate(story, 1):
        assert place.advance(frame)
        assert place.text == resume_cursor(story[:number])


@given(frame_sequences(duplicates=True))
def test_offset_not_above_the_last_is_a_duplicate(story: list[Frame]) -> None:
    place = ResumeCursor()
    assert [frame for frame in story if place.advance(frame)] == without_duplicates(story)


@given(frame_sequences(), st.data())
def test_cursor_text_round_trips(story: list[Frame], data: st.DataObject) -> None:
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


def test_without_a_cursor_there_is_no_position() -> None:
    place = ResumeCursor()
    assert place.advance(event("t:0:1"))
    assert place.text is None
    assert not place.advance(event("t:0:1"))


def test_forgetting_a_topic_keeps_topics_with_its_prefix() -> None:
    place = ResumeCursor("C1,t:0:7,tt:0:7")
    place.forget_topic("t")
    assert place.text == "C1,tt:0:7"
    assert place.advance(event("t:0:0"))
    assert not place.advance(event("tt:0:7"))


def test_frame_without_a_cursor_changes_nothing() -> None:
    place = ResumeCursor("C1,t:0:7")
    place.advance({"op": "closing", "cursor": None})
    assert place.text == "C1,t:0:7"


@pytest.mark.parametrize(
    "text", ["C1,", "C1,t:0", "C1,t:0:x", "C1,t:0:1,", "C1,t:0:-1", "C1,t:0: 1"]
)
def test_malformed_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        ResumeCursor(text)


def test_position_is_split_at_its_last_colon() -> None:
    assert split_position("a.b-c:12:9007199254740993") == ("a.b-c:12", 9007199254740993)
