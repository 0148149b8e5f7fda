"""The planted bugs stay current: each still applies to the tree as it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import ROOT, Mutant, Stale, load, mutated

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_planted_bug_still_applies(mutant: Mutant) -> None:
    source = (ROOT / mutant.module).read_text()
    changed = mutated(mutant, source)
    assert changed != source
    if mutant.module.endswith(".py"):
        ast.parse(changed)


@pytest.mark.parametrize("module", sorted({mutant.module for mutant in MUTANTS}))
def test_the_tests_of_a_table_are_there(module: str) -> None:
    tests = next(mutant.tests for mutant in MUTANTS if mutant.module == module)
    named = [test.partition("::") for test in tests if test.startswith("tests/")]
    assert named
    assert [file for file, _, _ in named if not (ROOT / file).exists()] == []
    functions = [(ROOT / file, test) for file, _, test in named if test]
    assert [test for file, test in functions if f"def {test}(" not in file.read_text()] == []


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
