"""`completion`: shells complete commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_process import command_environment, run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(folder: Path, shell: str) -> None:
    result = run(folder, "completion", shell)
    assert (result.exit_code, result.stderr_lines) == (0, [])
    text = "\n".join(result.stdout_lines)
    assert "push-bridge" in text
    assert f"complete_{shell}" in text


def test_another_shell_is_a_wrong_argument(folder: Path) -> None:
    result = run(folder, "completion", "tcsh")
    assert result.exit_code == 2
    assert "tcsh" in "\n".join(result.stderr_lines)


@pytest.mark.parametrize(
    ("line", "completed"), [("push-bridge pu", "publish"), ("push-bridge token --s", "--sub")]
)
def test_bash_completes(folder: Path, line: str, completed: str) -> None:
    """The script that is printed, in a real shell, with the line that a user has typed."""
    bash = shutil.which("bash")
    assert bash is not None, "install bash"
    script = "\n".join(run(folder, "completion", "bash").stdout_lines)
    words = line.split()
    typed = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}"
    complete = '_push_bridge_completion push-bridge; echo "${COMPREPLY[@]}"'
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        [bash, "-c", f"{script}\n{typed}\n{complete}"],
        cwd=folder,
        env=command_environment() | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed in ended.stdout.split()
