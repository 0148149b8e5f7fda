"""Every mistake in a route is one sentence with file, line and remedy, as docs/routes.md has it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.config.environment import WrongRoute
from bridge.config.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs/routes.md"


def mistakes() -> list[tuple[str, str]]:
    """Each part of a definition, and its sentence."""
    section = PAGE.read_text().partition("## Mistakes")[2]
    lines = section.partition("```text\n")[2].partition("```")[0].splitlines()
    return [(part, sentence.strip()) for part, sentence in pairwise(lines) if part[0] != " "]


def definition(part: str) -> str:
    """The part in a topic's definition, from line 3 on."""
    fields = part[1:-1].split(", ", 1) if part.startswith("{") else [part]
    return "topics:\n  - name: orders\n" + "".join(f"    {field}\n" for field in fields)


def test_the_page_lists_at_least_thirty_kinds():
    assert len({re.sub("'[^']*'", "", sentence) for _, sentence in mistakes()}) >= 30


@pytest.mark.parametrize(("part", "sentence"), mistakes())
def test_a_mistake_is_one_sentence_with_file_and_line(tmp_path, monkeypatch, part, sentence):
    monkeypatch.chdir(tmp_path)
    Path("bridge.yaml").write_text(definition(part))
    with pytest.raises(WrongRoute) as caught:
        load_settings(Path("bridge.yaml"))
    assert str(caught.value) == f"bridge.yaml: topics.0.{sentence}"
    assert caught.value.exit_code == 1


def test_one_kafka_topic_under_two_names_is_a_wrong_route(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bridge.yaml").write_text("topics:\n  - a\n  - name: b\n    kafka: a\n")
    with pytest.raises(WrongRoute, match=r"^bridge.yaml: topics.1: line 3: Kafka's topic 'a' has"):
        load_settings(Path("bridge.yaml"))
    monkeypatch.setenv("BRIDGE_TOPICS", '["a", "b"]')
    with pytest.raises(WrongRoute, match=r"^BRIDGE_TOPICS: Kafka's topic 'a' has two names"):
        load_settings(Path("bridge.yaml"))


def test_a_line_break_in_a_route_breaks_no_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bridge.yaml").write_text('topics: [{name: a, route: {rooms: "{a\\nb\\e[0m}"}}]')
    with pytest.raises(WrongRoute) as caught:
        load_settings(Path("bridge.yaml"))
    assert str(caught.value).isprintable()
