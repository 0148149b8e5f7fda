"""Planted bugs, one to a patch: a suite is judged by those that it finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PATCHES: Final = sorted(Path(__file__).parent.glob("*.patch"))


def copy(tree: Path, to: Path) -> Path:
    """Copy a source tree to the new folder `to`, less what is made of it; return `to`."""
    # Python knows what it has compiled by the source's second and size only: not to be trusted.
    made = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "target", "build", "dist")
    shutil.copytree(tree, to, ignore=made)
    return to


def apply(patch: Path, tree: Path, *options: str) -> str:
    """Apply `patch` to `tree`; return git's complaint, empty where there is none."""
    # In a folder of some repository git would take the paths for that repository's.
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    command = ["git", "apply", *options, str(patch)]
    done = subprocess.run(command, cwd=tree, env=alone, capture_output=True, text=True, check=False)
    return done.stderr.strip() or ("" if done.returncode == 0 else "git gave no reason")
