"""The planted bugs stay current: each still applies to the tree as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.mutants import PATCHES, ROOT, apply, copy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(ROOT, tmp_path_factory.mktemp("mutants") / "tree")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_still_applies(patch: Path, tree: Path) -> None:
    assert apply(patch, tree, "--check") == ""


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_is_in_the_module_that_it_is_named_for(patch: Path) -> None:
    touched = re.findall(r"^\+\+\+ b/(.*)$", patch.read_text(), re.MULTILINE)
    module = patch.stem.partition("-")[0]
    if module == "client":
        assert [path.rpartition("/")[0] for path in touched] == ["bridge/client"]
    else:
        assert touched in [[f"bridge/{folder}{module}.py"] for folder in ("core/", "kafka/", "")]


def test_a_patch_that_does_not_apply_is_seen(tree: Path, tmp_path: Path) -> None:
    stale = tmp_path / "stale.patch"
    stale.write_text(PATCHES[0].read_text().replace("\n-", "\n-what was there once "))
    assert "does not apply" in apply(stale, tree, "--check")


def test_bugs_are_planted_all_over_the_core() -> None:
    modules = {patch.stem.partition("-")[0] for patch in PATCHES}
    assert modules >= {"hub", "fanout", "interest", "outbox", "position"}
    assert modules >= {"envelope", "session", "dialogue", "wire"}
    assert modules >= {"segment", "journal", "recall", "bounds", "progress", "catchup"}
    assert modules >= {"herald", "letters", "office", "steward"}
    assert len(PATCHES) >= 16
