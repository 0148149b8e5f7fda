"""The journey's client keeps what the contract says, and sees through a bridge that does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journey.resume_state import ResumeState


def told(*frames: dict[str, Any] | str) -> ResumeState:
    """One that was welcomed with `C0`, and then told these; a text is an event's position."""
    recall = ResumeState()
    recall.resume(cursor_only=False)
    hear(recall, {"op": "welcome", "cursor": "C0"}, *frames)
    return recall


def hear(recall: ResumeState, *frames: dict[str, Any] | str) -> None:
    for frame in frames:
        if isinstance(frame, str):
            recall.receive({"op": "event", "at": frame, "topic": frame.split(":")[0]})
        else:
            recall.receive(frame)


def back(recall: ResumeState, *frames: dict[str, Any] | str, alone: bool = False) -> None:
    """Let it come back, and be told these after its welcome."""
    hear(recall, {"op": "welcome", "cursor": recall.resume(cursor_only=alone)}, *frames)


def beat(cursor: str) -> dict[str, Any]:
    return {"op": "heartbeat", "cursor": cursor}


LIVE = {"op": "live", "replayed": 1, "cursor": "L"}


def came(recall: ResumeState) -> list[str]:
    return [frame["at"] for frame in recall.frames if frame["op"] == "event"]


def test_there_is_nothing_to_come_back_with_before_the_first_welcome():
    recall = ResumeState()
    assert recall.resume(cursor_only=False) is None
    hear(recall, {"op": "closing", "code": 4006, "cursor": None})
    assert recall.resume(cursor_only=True) is None


def test_it_comes_back_with_the_newest_cursor_and_the_last_positions_since():
    recall = told("a:0:1", beat("C1"), "a:0:5", "b:3:7", "a:0:9")
    assert recall.resume(cursor_only=False) == "C1,a:0:9,b:3:7"
    assert recall.resume(cursor_only=True) == "C1"


def test_a_closing_without_a_cursor_covers_nothing():
    recall = told("a:0:1", {"op": "closing", "code": 4005, "cursor": None})
    assert recall.resume(cursor_only=False) == "C0,a:0:1"


def test_its_own_words_are_its_cursor_after_the_welcome():
    recall = told("a:0:1")
    back(recall, "a:0:2")
    assert recall.resume(cursor_only=False) == "C0,a:0:1,a:0:2"
    assert recall.errors == []


def test_with_the_cursor_alone_what_came_after_it_may_come_again_and_is_dropped():
    recall = told("a:0:1", beat("C1"), "a:0:2", "b:0:3")
    back(recall, "a:0:2", "b:0:3", "a:0:4", LIVE, alone=True)
    assert came(recall) == ["a:0:1", "a:0:2", "b:0:3", "a:0:4"]
    assert (recall.repeated_count, recall.replayed_count, recall.errors) == (2, 1, [])


def test_what_the_cursor_or_the_positions_covered_is_left_for_the_checker_if_it_comes_again():
    recall = told("a:0:1", beat("C1"), "a:0:2")
    back(recall, "a:0:1", "a:0:2", alone=True)
    assert came(recall) == ["a:0:1", "a:0:2", "a:0:1"]
    recall = told("a:0:1")
    back(recall, "a:0:1")
    assert came(recall) == ["a:0:1", "a:0:1"]


def test_what_has_not_come_again_yet_is_still_told_by_its_position():
    recall = told("a:0:1", "b:0:2", "b:0:3")
    back(recall, "b:0:2", beat("C1"), alone=True)
    assert recall.resume(cursor_only=False) == "C1,a:0:1,b:0:3"


def test_an_instance_that_is_behind_may_send_again_after_it_was_live():
    recall = told("a:0:1", beat("C1"), "a:0:2", "b:0:3")
    back(recall, LIVE, "b:0:3", beat("C2"), alone=True)
    assert recall.resume(cursor_only=False) == "C2,a:0:2"
    back(recall, LIVE, beat("C3"), "a:0:4")
    assert (came(recall)[3:], recall.repeated_count, recall.errors) == (["a:0:4"], 1, [])


def test_a_cursor_that_covers_what_is_still_to_come_is_complained_of():
    recall = told("a:0:1", beat("C1 or so"), "a:0:2")
    back(recall, LIVE, "b:0:4", alone=True)
    assert recall.errors == []
    hear(recall, "a:0:4")
    assert "a:0:2" in recall.errors[0]


@pytest.mark.parametrize("again", ["a:0:1", "a:0:2"])
def test_offsets_that_do_not_increase_on_a_connection_are_complained_of(again):
    assert told("a:0:2", again).errors


def test_another_cursor_in_the_welcome_than_its_own_is_complained_of():
    recall = told("a:0:1")
    recall.resume(cursor_only=False)
    hear(recall, {"op": "welcome", "cursor": "another"})
    assert recall.errors


def test_after_a_gap_it_forgets_the_topics_positions():
    recall = told("a:0:5", "b:0:5", {"op": "gap", "topic": "a", "cursor": "G"}, "a:0:3")
    assert recall.errors == []
    assert recall.resume(cursor_only=False) == "G,a:0:3"
