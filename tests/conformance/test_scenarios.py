"""The scenarios are of their form, sound and complete; and the runner sees what goes wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from bridge.client.states import TRANSITIONS, State
from tests.conformance.__main__ import play_scenario
from tests.conformance.frames import complete_frame, find_difference, normalize_hello
from tests.conformance.scenario import SCENARIO_SCHEMA, Scenario, find_scenarios, read_scenario
from tests.harness.frame_schemas import check_frame

if TYPE_CHECKING:
    from pathlib import Path

ALL = find_scenarios()
FORM = json.loads(SCENARIO_SCHEMA.read_text())
#: What a scenario sends on purpose although no bridge of today would.
OF_TOMORROW = {"unknown-ignored", "gap-unknown-reason", "code-4599"}
each = pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)


def test_scenario_schema_is_valid() -> None:
    meta.validate(FORM)


@each
def test_scenario_matches_the_schema(scenario: Scenario) -> None:
    told = json.loads((SCENARIO_SCHEMA.with_suffix("") / f"{scenario.name}.json").read_text())
    Draft202012Validator(FORM).validate(told)


@pytest.mark.parametrize(
    "wrong",
    [{"sends": {}}, {"send": {}}, {"states": ["idle"]}, {"drop": False}, {"drop": True, "send": 1}],
)
def test_unknown_step_is_rejected(wrong: dict[str, Any]) -> None:
    assert not Draft202012Validator(FORM).is_valid({"about": "It.", "steps": [wrong]})


def test_scenarios_are_many_and_distinct() -> None:
    assert len(ALL) >= 30
    assert len({scenario.about for scenario in ALL}) == len(ALL)


def check_all(frames: list[dict[str, Any]]) -> None:
    for frame in frames:
        check_frame(frame)


@each
def test_sent_frames_match_the_protocol(scenario: Scenario) -> None:
    bound = {"$1": "1", "$2": "2"}
    frames = [complete_frame(step["send"], bound) for step in scenario.steps if "send" in step]
    if scenario.name in OF_TOMORROW:
        with pytest.raises(AssertionError):
            check_all(frames)
    else:
        check_all(frames)


def test_scenarios_cover_every_transition() -> None:
    gone = set()
    for scenario in ALL:
        states = [State.IDLE]
        for step in scenario.steps:
            states += map(State, step.get("states", []))
        gone |= set(pairwise(states))
    assert gone == {(state, to) for state, row in TRANSITIONS.items() for to in row.values()}


# -- the runner ------------------------------------------------------------------------------------

STORY = """{"about": "It.", "steps": [{"user": {"do": "close"}}, {"final": {"code": 1000}}]}"""


def says(**line: Any) -> str:
    """A statement that writes a line."""
    return f"print({json.dumps(line)!r}, flush=True); "


DRIVER = f"import sys; {says(can=[])} sys.stdin.readline(); "
FINAL = says(item="final", code=1000)
EVENT = says(item="event")


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (DRIVER + FINAL, None),
        (DRIVER + says(item="final", code=1001), "code: 1001 instead of 1000"),
        (DRIVER + FINAL + "sys.exit(3)", "exit code 3"),
        (DRIVER + FINAL + EVENT, "handed out"),
        (DRIVER + EVENT + FINAL, "item: 'event' instead of 'final'"),
        (DRIVER + FINAL + "print('oh', file=sys.stderr)", "oh"),
        ("raise SystemExit('not today')", "not today"),
    ],
)
def test_runner_reports_driver_errors(tmp_path: Path, driver: str, why: str | None) -> None:
    (tmp_path / "story.json").write_text(STORY)
    outcome = asyncio.run(
        play_scenario(read_scenario(tmp_path / "story.json"), [sys.executable, "-c", driver])
    )
    assert (outcome.failure is None) if why is None else (why in (outcome.failure or "")), (
        outcome.failure
    )


def test_missing_capability_skips_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_text(STORY.replace('"steps"', '"needs": ["sse"], "steps"'))
    outcome = asyncio.run(
        play_scenario(read_scenario(tmp_path / "story.json"), [sys.executable, "-c", DRIVER])
    )
    assert outcome.failure is None
    assert outcome.missing_capabilities == frozenset({"sse"})


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"cursor": "C,t:0:1,t:1:2"}, {"cursor": "C,t:1:2,t:0:1"}, True),
        ({"cursor": "C,t:0:1,t:0:2"}, {"cursor": "C,t:0:2"}, True),
        ({"cursor": "C,t:0:1"}, {"cursor": "C,t:0:2"}, False),
        ({"cursor": "C"}, {"cursor": "D"}, False),
        ({"rooms": ["a", "b"]}, {"rooms": ["b", "a"]}, True),
        ({"rooms": None}, {"rooms": []}, True),
        ({"topics": None}, {"topics": []}, False),
        ({"token": "t1"}, {}, False),
    ],
)
def test_equivalent_hellos_are_equal(
    one: dict[str, Any], other: dict[str, Any], alike: bool
) -> None:
    assert (find_difference(normalize_hello(one), normalize_hello(other), {}) is None) is alike
