"""What the page's own client keeps of the contract, asked of its modules themselves."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.web.test_console import FOLDER

pytestmark = pytest.mark.node


def ask(module: str, names: str, expression: str) -> Any:
    """The value of a JavaScript expression that uses `names` of one of the page's modules."""
    source = (FOLDER / module).as_uri()
    script = f"import {{ {names} }} from {json.dumps(source)};\n"
    script += f"console.log(JSON.stringify({expression}));"
    command = ["node", "--no-warnings", "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def place(*frames: dict[str, Any]) -> tuple[str, list[bool]]:
    """What to come back with after these frames, and which of them were news."""
    told = f"(() => {{ const p = new Place(); const news = {json.dumps(frames)}"
    told += ".map((each) => p.take(each)); return [p.cursor, news]; })()"
    cursor, news = ask("place.js", "Place", told)
    return cursor, news


def event(at: str) -> dict[str, Any]:
    return {"op": "event", "at": at}


WELCOME = {"op": "welcome", "cursor": "C1"}


def test_it_comes_back_with_the_newest_cursor_and_the_positions_since() -> None:
    events = [event("a:0:7"), event("a:1:3"), event("a:0:9")]
    assert place(WELCOME, *events)[0] == "C1,a:0:9,a:1:3"
    assert place(WELCOME, *events, {"op": "heartbeat", "cursor": "C2"})[0] == "C2"
    assert place(*events)[0] == ""


def test_what_is_not_above_the_last_seen_was_seen() -> None:
    heartbeat = {"op": "heartbeat", "cursor": "C2"}
    frames = [event("a:0:7"), event("a:0:7"), heartbeat, event("a:0:6"), event("a:0:10")]
    assert place(*frames)[1] == [True, False, True, False, True]


def test_a_gap_forgets_the_positions_of_its_topic_and_no_other() -> None:
    gap = {"op": "gap", "topic": "a", "reason": "recreated", "cursor": None}
    frames = [WELCOME, event("a:0:7"), event("ab:0:7"), gap, event("a:0:0"), event("ab:0:7")]
    assert place(*frames) == ("C1,ab:0:7,a:0:0", [True, True, True, True, True, False])


def test_45xx_does_not_come_back_and_everything_else_does() -> None:
    codes = [1000, 1006, 1012, 4001, 4006, 4499, 4500, 4504, 4599, 4600]
    assert ask("retry.js", "isFinal", f"{codes}.map(isFinal)") == [
        4500 <= code < 4600 for code in codes
    ]


def test_it_comes_back_after_what_was_asked_for_and_within_a_growing_time() -> None:
    def delay(*arguments: object) -> float:
        waited: float = ask("retry.js", "delay", f"delay({', '.join(map(str, arguments))})")
        return waited

    assert delay(1, 0, "() => 1") == 1
    assert delay(3, 0, "() => 0.5") == 2
    assert delay(1000, 0, "() => 1") == 30
    assert delay(1, 4.2, "() => 1") == 4.2
    assert delay(1000, 4.2, "() => 1") == 30
