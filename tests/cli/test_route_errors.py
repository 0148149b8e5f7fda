"""`check` and `serve` end with 1 where a route is wrong, and with 2 where another setting is."""

from __future__ import annotations

import pytest

from tests.cli.command_process import error_line, run


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(
    ("topic", "exit_code"),
    [('{name: a, route: {romms: "{key}"}}', 1), ("{name: a, formt: text}", 2)],
)
def test_a_wrong_route_exits_with_1(folder, command, topic, exit_code):
    (folder / "b.yaml").write_text(f"topics: [{topic}]\n")
    line = error_line(run(folder, command, "--config", "b.yaml", AUTH__MODE="none"), exit_code)
    assert line.startswith("b.yaml: topics.0.")
    assert ": line 1: " in line
