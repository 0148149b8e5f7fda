"""Where JavaScript is tried out: Node, and a folder into which npm installs the client's package.

The rule kept here: nothing is installed into the tree; what is tried is the package as npm has it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
CLIENT: Final = ROOT / "bridge" / "client" / "javascript"
EXAMPLES: Final = ROOT / "docs" / "examples"
#: What compiles users' code: exact versions, so that a newer compiler is tried on purpose.
COMPILER: Final = ("typescript@5.9.3", "@types/node@20", "@types/react@19")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and return what became of it."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def unit_tests() -> subprocess.CompletedProcess[str]:
    """Run the unit tests; none of them may take longer than ten seconds."""
    tests = sorted(path.name for path in HERE.glob("*.test.mjs"))
    return run("node", "--test", "--test-timeout=10000", *tests, cwd=HERE)


def packed(*options: str) -> dict[str, Any]:
    """Pack the client for npm; what npm tells of that."""
    done = run("npm", "pack", "--json", *options, cwd=CLIENT)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    return dict(told)


def installed(folder: Path, *packages: str) -> Path:
    """A project in `folder` with the client's package, and others; return `folder`."""
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    client = packed("--pack-destination", str(folder))["filename"]
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
    done = run("npm", "install", *quiet, f"./{client}", *packages, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def compiled(folder: Path, files: Sequence[str], *options: str) -> str:
    """Compile `files` of `folder` at the strictest; the complaints."""
    strict = ("--strict", "--exactOptionalPropertyTypes", "false", "--noUncheckedIndexedAccess")
    target = ("--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
    tsc = ("npx", "--no-install", "tsc", "--noEmit", *strict, *target, *options)
    return run(*tsc, *files, cwd=folder).stdout
