"""`docs/tokens.md`: its examples, as they stand there, make tokens that the bridge takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from bridge.app.access import build_authenticator
from bridge.config.settings import AuthSettings
from tests.journey.compose_stack import ROOT, TIMEOUT_SECONDS
from tests.web.authenticator_checks import grant_now

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "tokens.md").read_text(encoding="utf-8")
SECRET = "a-secret-of-more-than-thirty-two-bytes"


def example(language: str, word: str) -> str:
    """The example in `language` that has `word`."""
    (found,) = [
        code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if word in code
    ]
    return str(found)


def run(program: str, script: Path) -> str:
    done = subprocess.run(
        [program, str(script)],
        env={"PUSH_SECRET": SECRET},
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    return done.stdout.strip()


def is_good(token: str) -> None:
    admits, _ = build_authenticator(AuthSettings(secret=SecretStr(SECRET)), loopback_only=False)
    grant = grant_now(admits, token)
    assert grant.account == "alice"
    assert grant.expires_at is not None
    assert grant.issued_at is not None
    assert grant.expires_at - grant.issued_at == 900
    assert grant.rooms is not None
    assert grant.rooms.matches("order:42")
    assert not grant.rooms.matches("order:42:notes")


def test_the_example_in_python(tmp_path: Path):
    script = tmp_path / "signs.py"
    called = 'print(push_token("alice", ["order:*"]))\n'
    script.write_text(f"{example('python', 'push_token')}\n{called}")
    is_good(run(sys.executable, script))


@pytest.mark.node
def test_the_example_in_node(tmp_path: Path):
    script = tmp_path / "signs.mjs"
    called = 'console.log(pushToken("alice", ["order:*"]));\n'
    script.write_text(f"{example('js', 'pushToken')}\n{called}")
    node = shutil.which("node")
    assert node is not None
    is_good(run(node, script))
