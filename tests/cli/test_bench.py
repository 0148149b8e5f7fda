"""`bench`: each scenario on an embedded broker, and why not, as a sentence."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command_process import error_line, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command_process import CommandResult
    from tests.cli.conftest import DevServer

SHORT = ["--connections", "8", "--seconds", "0.5", "--warmup", "0.2", "--json"]


def bench(dev: DevServer, folder: Path, scenario: str, *arguments: str) -> CommandResult:
    where = ["--url", dev.url, "--kafka", dev.kafka, "--topic", "demo"]
    return run(folder, "bench", scenario, *where, *SHORT, *arguments)


def figures(ended: CommandResult) -> dict[str, Any]:
    assert ended.exit_code == 0, ended
    (line,) = ended.stdout_lines
    told: dict[str, Any] = json.loads(line)["figures"]
    return told


def whole(told: dict[str, Any]) -> None:
    assert (told["lost"], told["duplicates"], told["disorder"], told["gaps"]) == (0, 0, 0, 0)
    assert told["received"] == told["due"] > 0


@pytest.mark.parametrize(
    ("scenario", "rate", "due"),
    [("fanout", 50, 35 * 8), ("accounts", 200, 140), ("filter", 1_000, 7)],
)
def test_everything_that_was_written_is_delivered_and_counted(dev, folder, scenario, rate, due):
    told = figures(bench(dev, folder, scenario, "--rate", str(rate)))
    whole(told)
    assert told["due"] == due
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["max"] < 60_000
    assert told["deliveries_per_second"] > 0


def test_several_processes_are_one_load(dev, folder):
    told = figures(bench(dev, folder, "accounts", "--processes", "2", "--sources", "3"))
    whole(told)


def test_idle_tells_memory_and_accepts(dev, folder):
    told = figures(bench(dev, folder, "idle"))
    assert told["cut"] == 0
    assert told["accepts_per_second"] > 0
    assert told["memory_kib_per_connection"] >= 0


def test_who_comes_back_in_a_storm_has_missed_nothing(dev, folder):
    told = figures(bench(dev, folder, "storm", "--missed", "400"))
    whole(told)
    assert told["due"] == 400


def test_who_does_not_read_delays_nobody(dev, folder):
    told = figures(bench(dev, folder, "slow", "--slow", "2", "--rate", "100"))
    whole(told)
    assert told["due"] == 70 * 6


def test_the_ceiling_needs_no_bridge(folder: Path):
    ended = run(folder, "bench", "ceiling", "--connections", "5", "--seconds", "0.1", "--json")
    told = figures(ended)
    assert len(told) == 4
    assert all(each["counted"] == each["sent"] > 0 for each in told.values())


def test_for_people_it_prints_lines(dev, folder):
    where = ["--url", dev.url, "--kafka", dev.kafka, "--topic", "demo"]
    ended = run(folder, "bench", "fanout", *where, "--connections", "2", "--seconds", "0.3")
    assert ended.exit_code == 0
    assert any(line.startswith("latency ms") for line in ended.stdout_lines)
    assert any("connected" in line for line in ended.stderr_lines)


# -- why not ---------------------------------------------------------------------------------------


def told(ended: CommandResult, code: int = 1) -> str:
    """The last line on stderr; progress may stand before it."""
    assert (ended.exit_code, ended.stdout_lines) == (code, []), ended
    return ended.stderr_lines[-1]


def test_a_kafka_that_does_not_answer_is_named(dev, folder):
    assert "127.0.0.1:1 cannot be used" in told(
        bench(dev, folder, "fanout", "--kafka", "127.0.0.1:1")
    )


def test_a_topic_that_does_not_exist_is_named(dev, folder):
    assert "'no-such'" in told(bench(dev, folder, "fanout", "--topic", "no-such"))


def test_a_bridge_that_does_not_answer_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = run(folder, "bench", "idle", "--topic", "demo", "--url", f"http://127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in error_line(ended, 1)


def test_clients_that_are_refused_are_told_with_the_reason(dev, folder):
    assert "4501" in told(bench(dev, folder, "idle", "--topic", "not-served"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fanout"], "--topic"),
        (["fanout", "--topic", "demo", "--url", "https://a.example"], "TLS"),
        (["fanout", "--topic", "demo", "--url", "http://a.example:nan"], "address"),
        (["fanout", "--topic", "demo", "--account", "a,"], "--account"),
        (["accounts", "--topic", "demo", "--token", "t"], "--token"),
        (["slow", "--topic", "demo", "--connections", "2", "--slow", "2"], "--slow"),
    ],
)
def test_a_wrong_option_is_exit_2_and_a_sentence(folder, arguments, words):
    assert words in error_line(run(folder, "bench", *arguments), 2)


def test_an_unknown_scenario_is_exit_2(folder):
    assert run(folder, "bench", "fan-out").exit_code == 2
