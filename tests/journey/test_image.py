"""The image's install steps, run here: no daemon is needed to see that they lead to a command.

What this leaves out is the base image itself, and that Docker accepts the file. It is the one test
that installs from an index: where pip reaches none, it is skipped with a sentence that says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.journey.compose_stack import COMPOSE_FOLDER, ROOT

pytestmark = pytest.mark.timeout(600, func_only=True)

SECONDS = 300
UNREACHED = (
    "pip reaches no index, which the image's steps install from: "
    "connect this machine, or set PIP_INDEX_URL to an index that it reaches"
)
#: What tells pip the way to its index.
NETWORK = re.compile(r"PIP_.+|SSL_CERT_\w+|(?i:(https?|all|no)_proxy)").fullmatch
DEVELOPMENT = ("pytest", "mypy", "hypothesis", "ruff", "httpx", "schemathesis")


def instructions() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages, each a list of instructions: the word and its text."""
    lines = (COMPOSE_FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Image:
    """A folder that stands for the image's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "opt" / "push-bridge"

    def build(self) -> None:
        """Do what the first stage does, with this Python for the base image's."""
        work = self.root
        for word, text in instructions()[0]:
            if word == "WORKDIR":
                work = self.root / text.lstrip("/")
                work.mkdir(parents=True)
            elif word == "COPY":
                *sources, _ = text.split()
                for source in sources:
                    self._copy(ROOT / source, work / source)
            elif word == "RUN":
                here = re.sub(r"(?=/(opt|tmp)/)", str(self.root), text)
                done = self.run("sh", "-c", here, folder=work, python=True)
                assert done.code == 0, f"{text}: {done.err}"

    def run(self, *command: str, folder: Path, python: bool = False, **settings: str) -> Ended:
        """Run a command as in the image: with its commands, and nothing of this environment's."""
        home = str(Path(sys.executable).parent) if python else str(self.home / "bin")
        network = {name: value for name, value in os.environ.items() if NETWORK(name)}
        environment = {"PATH": f"{home}:{os.defpath}", "HOME": str(self.root), **network}
        done = subprocess.run(
            command,
            cwd=folder,
            env={**environment, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def reached(image: Image, *options: str) -> bool:
    """Whether pip finds what a wheel is built with, in as short a time as it can."""
    requirement = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pip = ("python", "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest=.", *options)
    try:
        command = (*pip, "--retries=1", "--timeout=20", *requirement)
        return image.run(*command, folder=image.root, python=True).code == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    built = Image(tmp_path_factory.mktemp("image"))
    if not reached(built):
        pytest.skip(UNREACHED)
    built.build()
    return built


def test_an_index_that_is_not_reached_is_seen(tmp_path):
    nowhere = ("--index-url=http://127.0.0.1:1/", "--isolated")
    assert not reached(Image(tmp_path), *nowhere)


def test_the_command_is_there_and_says_what_it_can(image, tmp_path):
    done = image.run("push-bridge", "--help", folder=tmp_path)
    assert done.code == 0, done
    assert "serve" in done.out


def test_nothing_is_installed_that_only_development_needs(image, tmp_path):
    names = ", ".join(map(repr, (*DEVELOPMENT, "pip", "setuptools")))
    code = f"import importlib.util as u; print([n for n in ({names}) if u.find_spec(n)])"
    assert image.run("python", "-c", code, folder=tmp_path).out.strip() == "[]"


def test_check_without_topics_is_exit_2_and_a_line_that_names_the_setting(image, tmp_path):
    done = image.run("push-bridge", "check", folder=tmp_path)
    assert done.code == 2, done
    assert done.err.startswith("BRIDGE_TOPICS: ")


def test_check_without_kafka_is_exit_1_and_a_sentence(image, tmp_path):
    settings = {
        "BRIDGE_TOPICS": '["demo"]',
        "BRIDGE_AUTH__MODE": "none",
        "BRIDGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    done = image.run("push-bridge", "check", folder=tmp_path, **settings)
    assert done.code == 1, done
    assert done.err.startswith("Kafka at 127.0.0.1:1 ")


def test_the_demos_scripts_need_nothing_else(image, tmp_path):
    settings = {"BRIDGE_AUTH__SECRET": "a-secret-of-more-than-thirty-two-bytes"}
    done = image.run(
        "python", str(COMPOSE_FOLDER / "sign.py"), "alice", folder=tmp_path, **settings
    )
    assert done.out.count(".") == 2, done
    done = image.run(
        "python", "-c", "import produce", folder=COMPOSE_FOLDER, PYTHONDONTWRITEBYTECODE="1"
    )
    assert done.code == 0, done
