"""What the operators' view reckons and asks for, asked of its modules themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.console_modules import running_console_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.console_modules import ConsoleModules

pytestmark = pytest.mark.node

NOW = "Date.parse('2026-11-21T12:00:00Z')"


@pytest.fixture(scope="module")
def page() -> Iterator[ConsoleModules]:
    with running_console_modules() as page:
        yield page


def series(page: ConsoleModules, *samples: dict[str, Any], counts: bool = True) -> list[Any]:
    """The points of a series that has taken these samples, as [at, value, joined]."""
    told = f"(() => {{ const s = new Series({{ isCounter: {json.dumps(counts)} }});"
    told += f" {json.dumps(samples)}.forEach((each) => s.add(each));"
    told += " return s.points.map((each) => [each.at, each.value, each.isJoined]); })()"
    points: list[Any] = page.evaluate("rates.js", "Series", told)
    return points


def sample(at: float, value: float, *, boot: float = 1, who: str = "a") -> dict[str, Any]:
    return {"at": at, "value": value, "startedAt": boot, "instance": who}


def test_a_rate_is_what_was_counted_between_two_looks(page: ConsoleModules) -> None:
    assert series(page, sample(0, 5)) == []
    assert series(page, sample(0, 5), sample(2, 9), sample(4, 9)) == [[2, 2, False], [4, 0, True]]
    assert series(page, sample(0, 5), sample(2, 9), counts=False) == [[0, 5, False], [2, 9, True]]


def test_a_counter_that_begins_anew_has_risen_by_what_it_says(page: ConsoleModules) -> None:
    assert series(page, sample(0, 100), sample(2, 6)) == [[2, 3, False]]
    assert series(page, sample(0, 5), sample(2, 106, boot=2)) == [[2, 53, False]]


def test_nothing_is_told_between_two_instances_or_while_nobody_looked(page: ConsoleModules) -> None:
    assert series(page, sample(0, 5), sample(2, 9), sample(4, 99, who="b")) == []
    assert series(page, sample(0, 5), sample(2, 9), sample(60, 99), sample(62, 99)) == [
        [2, 2, False],
        [62, 0, False],
    ]


def test_points_are_of_the_last_two_minutes_and_stay_in_their_box(page: ConsoleModules) -> None:
    points = series(page, *(sample(at, at) for at in range(0, 400, 2)))
    assert (points[0][0], points[-1][0]) == (278, 398)
    path = page.evaluate(
        "rates.js",
        "Series",
        """(() => { const s = new Series({ isCounter: false });
        for (const [at, value] of [[0, 4], [60, 8], [62, 0]])
            s.add({ at, value, instance: "a", startedAt: 1 });
        return s.svgPath(120, 28, 62); })()""",
    )
    assert path == "M58.0 14.0M118.0 0.0L120.0 28.0"


def test_metrics_are_read_with_their_labels_and_what_is_not_there_is_undefined(
    page: ConsoleModules,
) -> None:
    text = r"""# HELP x_total Of it.
x_total{topic="a} 1",name="\"q\"\\\n"} 2.0
x_total{topic="b"} 3e2
up 1.0 1700000000
broken line here
"""
    expression = f"(() => {{ const f = new MetricsSnapshot({json.dumps(text)});"
    expression += (
        ' return [f.sum("x_total"), f.sum("up"), f.sum("none") ?? null, f.label("x_total", "name"),'
        ' f.label("x_total", "topic"), f.label("none", "name") ?? null]; })()'
    )
    assert page.evaluate("prometheus.js", "MetricsSnapshot", expression) == [
        302,
        1,
        None,
        '"q"\\\n',
        "a} 1",
        None,
    ]


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2026-11-21T12:00:03Z", "0 s"),
        ("2026-11-21T11:59:01.500Z", "58 s"),
        ("2026-11-21T11:58:00Z", "2 min"),
        ("2026-11-21T10:00:00Z", "2 h"),
        ("2026-11-21T09:55:00Z", "2 h 5 min"),
        ("2026-11-18T11:00:00Z", "3 d"),
        (None, ""),
    ],
)
def test_an_age_is_said_in_few_characters(
    page: ConsoleModules, time: str | None, said: str
) -> None:
    assert page.evaluate("format.js", "formatAge", f"formatAge({json.dumps(time)}, {NOW})") == said


def test_bytes_are_said_in_few_characters_and_unknown_is_nothing(page: ConsoleModules) -> None:
    numbers = "[0, 999, 1000, 12345, 1234567, null].map(formatBytes)"
    assert page.evaluate("format.js", "formatBytes", numbers) == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12 kB",
        "1.2 MB",
        "",
    ]


def test_an_age_is_by_the_clock_of_the_bridge(page: ConsoleModules) -> None:
    script = """(() => { const there = new Date(Date.now() + 3_600_000);
        syncClock(there.toUTCString()); const far = formatAge(there.toISOString());
        syncClock(null); syncClock("nonsense"); const still = formatAge(there.toISOString());
        syncClock(new Date().toUTCString());
        return [far, still, formatAge(new Date().toISOString())]; })()"""
    assert page.evaluate("format.js", "formatAge, syncClock", script) == ["0 s", "0 s", "0 s"]


def test_a_name_is_one_part_of_a_path_whatever_it_has(page: ConsoleModules) -> None:
    names = ["a/../b", "%2e", "order:42 %?#", "...", "ä"]
    made = page.evaluate(
        "path.js", "buildPath", f'{json.dumps(names)}.map((each) => buildPath("v1", "rooms", each))'
    )
    assert made == [
        "v1/rooms/a%2F..%2Fb",
        "v1/rooms/%252e",
        "v1/rooms/order%3A42%20%25%3F%23",
        "v1/rooms/...",
        "v1/rooms/%C3%A4",
    ]


@pytest.mark.parametrize("name", [".", "..", "\ud800"])
def test_a_name_that_a_browser_would_ask_something_else_for_is_refused(
    page: ConsoleModules, name: str
) -> None:
    script = f"""(() => {{ try {{ return buildPath("v1", "rooms", {json.dumps(name)}, "x"); }}
        catch (trouble) {{ return [trouble.status, trouble.message]; }} }})()"""
    status, message = page.evaluate("path.js", "buildPath", script)
    assert status == 422
    assert message


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            '{"type":"about:blank","title":"Unauthorized","status":401,"detail":"it has expired"}',
            "401 it has expired",
        ),
        ('{"title":"Unauthorized"}', "401 Unauthorized"),
        ("unauthenticated: it has expired", "401 unauthenticated: it has expired"),
        ("<html><h1>502 Bad Gateway</h1></html>", "401 closed"),
        ("", "401 closed"),
        ("null", "401 null"),
        ("7", "401 closed"),
    ],
)
def test_a_refusal_is_shown_as_its_sentence_never_as_raw_json(
    page: ConsoleModules, reason: str, shown: str
) -> None:
    close = json.dumps({"code": 401, "reason": reason})
    assert page.evaluate("status.js", "formatClose", f"formatClose({close})") == shown


def test_a_count_of_one_is_singular(page: ConsoleModules) -> None:
    told = page.evaluate("format.js", "formatNoun", "[0, 1, 2].map((n) => formatNoun(n, 'member'))")
    assert told == ["0 members", "1 member", "2 members"]


def test_a_stream_in_place_of_a_websocket_is_shown_as_such(page: ConsoleModules) -> None:
    state = "{ state: 'live', welcome: { instance: 'i1' }, isStream: true, isReplaying: true }"
    told = page.evaluate("status.js", "describeState", f"describeState({state})")
    assert told == "Connected to i1 by an event stream, catching up…"
