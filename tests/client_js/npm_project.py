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
TESTS_FOLDER: Final = Path(__file__).parent
CLIENT: Final = ROOT / "bridge" / "client" / "javascript"
EXAMPLES: Final = ROOT / "docs" / "examples"
#: What compiles users' code: exact versions, so that a newer compiler is tried on purpose.
COMPILER_PACKAGES: Final = ("typescript@5.9.3", "@types/node@20", "@types/react@19")


def run_command(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and return what became of it."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def run_unit_tests() -> subprocess.CompletedProcess[str]:
    """Run the unit tests; none of them may take longer than ten seconds."""
    tests = sorted(path.name for path in TESTS_FOLDER.glob("*.test.mjs"))
    return run_command("node", "--test", "--test-timeout=10000", *tests, cwd=TESTS_FOLDER)


def pack_client(*options: str) -> dict[str, Any]:
    """Pack the client for npm; what npm tells of that."""
    completed = run_command("npm", "pack", "--json", *options, cwd=CLIENT)
    assert completed.returncode == 0, completed.stderr
    (report,) = json.loads(completed.stdout)
    return dict(report)


def install_packages(folder: Path, *packages: str) -> Path:
    """A project in `folder` with the client's package, and others; return `folder`."""
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    client = pack_client("--pack-destination", str(folder))["filename"]
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
    completed = run_command("npm", "install", *quiet, f"./{client}", *packages, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    return folder


def compile_files(folder: Path, files: Sequence[str], *options: str) -> str:
    """Compile `files` of `folder` at the strictest; the complaints."""
    strict = ("--strict", "--exactOptionalPropertyTypes", "false", "--noUncheckedIndexedAccess")
    target = ("--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
    tsc = ("npx", "--no-install", "tsc", "--noEmit", *strict, *target, *options)
    return run_command(*tsc, *files, cwd=folder).stdout
