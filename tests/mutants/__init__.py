"""Planted bugs: one table per module, keyed by the text that each bug replaces.

The table `tables/core/sessions/hub.py.toml` belongs to `bridge/core/sessions/hub.py`. Each bug has
the lines before and after, so it survives every move. The text before occurs exactly once.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
TABLES: Final = Path(__file__).parent / "tables"


class Mutant(NamedTuple):
    """One planted bug: `before` becomes `after` in `module`; one of `tests` must fail then."""

    module: str
    name: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its name in reports and on the command line, such as `core/sessions/hub.py:late`."""
        return f"{self.module.removeprefix('bridge/')}:{self.name}"


class Stale(Exception):
    """The text that a bug replaces does not occur exactly once in its module."""


def load(tables: Path = TABLES) -> list[Mutant]:
    """Read all planted bugs, in the order of their modules."""
    found = []
    for path in sorted(tables.rglob("*.toml")):
        table = tomllib.loads(path.read_text())
        module = f"bridge/{path.relative_to(tables).with_suffix('')}"
        tests = tuple(table["tests"])
        found += [
            Mutant(module, bug["name"], bug["before"], bug["after"], tests) for bug in table["bug"]
        ]
    return found


def mutated(mutant: Mutant, source: str) -> str:
    """Return `source` with the bug in it; raise `Stale` where its text is not there once."""
    before, text = f"\n{mutant.before}", f"\n{source}"
    if (count := text.count(before)) != 1:
        raise Stale(f"{mutant.id}: its text occurs {count} times in {mutant.module}, not once")
    return text.replace(before, f"\n{mutant.after}")[1:]


def plant(mutant: Mutant, tree: Path) -> None:
    """Write the bug into `tree`, a copy of the project; raise `Stale`, or where it is absent."""
    module = tree / mutant.module
    module.write_text(mutated(mutant, module.read_text()))


def copy(tree: Path, to: Path) -> Path:
    """Copy a source tree to the new folder `to`, without build results; return `to`."""
    # Python recognises stale bytecode by the source's second and size only, so none is copied.
    built = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "target", "build", "dist")
    shutil.copytree(tree, to, ignore=built)
    return to
