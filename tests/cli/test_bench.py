"""`bench`: each scenario on an embedded broker, and its errors."""

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
    result: dict[str, Any] = json.loads(line)["figures"]
    return result


def check_complete(result: dict[str, Any]) -> None:
    assert (result["lost"], result["duplicates"], result["disorder"], result["gaps"]) == (
        0,
        0,
        0,
        0,
    )
    assert result["received"] == result["due"] > 0


@pytest.mark.parametrize(
    ("scenario", "rate", "due"),
    [("fanout", 50, 35 * 8), ("accounts", 200, 140), ("filter", 1_000, 7)],
)
def test_every_record_is_delivered_and_counted(dev, folder, scenario, rate, due):
    result = figures(bench(dev, folder, scenario, "--rate", str(rate)))
    check_complete(result)
    assert result["due"] == due
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["max"] < 60_000
    assert result["deliveries_per_second"] > 0


def test_several_workers_are_one_load(dev, folder):
    result = figures(bench(dev, folder, "accounts", "--processes", "2", "--sources", "3"))
    check_complete(result)


def test_idle_reports_memory_and_accepts(dev, folder):
    result = figures(bench(dev, folder, "idle"))
    assert result["cut"] == 0
    assert result["accepts_per_second"] > 0
    assert result["memory_kib_per_connection"] >= 0


def test_clients_resumed_in_a_storm_miss_nothing(dev, folder):
    result = figures(bench(dev, folder, "storm", "--missed", "400"))
    check_complete(result)
    assert result["due"] == 400


def test_stalled_clients_do_not_delay_others(dev, folder):
    result = figures(bench(dev, folder, "slow", "--slow", "2", "--rate", "100"))
    check_complete(result)
    assert result["due"] == 70 * 6


def test_ceiling_needs_no_bridge(folder: Path):
    ended = run(folder, "bench", "ceiling", "--connections", "5", "--seconds", "0.1", "--json")
    result = figures(ended)
    assert len(result) == 4
    assert all(each["counted"] == each["sent"] > 0 for each in result.values())


def test_without_json_it_prints_lines(dev, folder):
    where = ["--url", dev.url, "--kafka", dev.kafka, "--topic", "demo"]
    ended = run(folder, "bench", "fanout", *where, "--connections", "2", "--seconds", "0.3")
    assert ended.exit_code == 0
    assert any(line.startswith("latency ms") for line in ended.stdout_lines)
    assert any("connected" in line for line in ended.stderr_lines)


# -- errors ----------------------------------------------------------------------------------------


def error_of(ended: CommandResult, code: int = 1) -> str:
    """Return the last line on stderr; progress may precede it."""
    assert (ended.exit_code, ended.stdout_lines) == (code, []), ended
    return ended.stderr_lines[-1]


def test_unreachable_kafka_is_named(dev, folder):
    assert "127.0.0.1:1 cannot be used" in error_of(
        bench(dev, folder, "fanout", "--kafka", "127.0.0.1:1")
    )


def test_missing_topic_is_named(dev, folder):
    assert "'no-such'" in error_of(bench(dev, folder, "fanout", "--topic", "no-such"))


def test_unreachable_bridge_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = run(folder, "bench", "idle", "--topic", "demo", "--url", f"http://127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in error_line(ended, 1)


def test_refused_clients_are_reported_with_the_reason(dev, folder):
    assert "4501" in error_of(bench(dev, folder, "idle", "--topic", "not-served"))


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
def test_wrong_option_exits_with_2(folder, arguments, words):
    assert words in error_line(run(folder, "bench", *arguments), 2)


def test_unknown_scenario_exits_with_2(folder):
    assert run(folder, "bench", "fan-out").exit_code == 2
