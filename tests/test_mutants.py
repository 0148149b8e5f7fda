"""The planted bugs stay current: each still applies to the tree as it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import ROOT, TABLES, Mutant, Stale, load, mutated

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_planted_bug_still_applies(mutant: Mutant) -> None:
    source = (ROOT / mutant.module).read_text()
    changed = mutated(mutant, source)
    assert changed != source
    if mutant.module.endswith(".py"):
        ast.parse(changed)


@pytest.mark.parametrize("path", sorted(TABLES.rglob("*.toml")), ids=lambda path: path.stem)
def test_the_tests_of_a_table_are_there(path: Path) -> None:
    tests = load(path.parent)[0].tests
    files = [test for test in tests if test.startswith("tests/")]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_no_two_bugs_have_one_name() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("source", ["", "a\nb\na\n", "aa\n", "ba\n"])
def test_a_stale_bug_is_seen(source: str) -> None:
    with pytest.raises(Stale):
        mutated(Mutant("bridge/x.py", "x", "a\n", "b\n", ()), source)


def test_whole_lines_are_replaced_once() -> None:
    assert mutated(Mutant("bridge/x.py", "x", "a\n", "b\n", ()), "a\nba\n") == "b\nba\n"


def test_bugs_are_planted_all_over() -> None:
    folders = {Path(mutant.module).parent.as_posix() for mutant in MUTANTS}
    assert folders >= {
        "bridge/core/sessions",
        "bridge/core/replay",
        "bridge/coordination",
        "bridge/client",
    }
    assert len(MUTANTS) >= 224
