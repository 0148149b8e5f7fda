"""`token`: the bridge accepts what it prints, and it prints nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import Credentials
from bridge.web.auth.tokens.claims import ClaimRules
from bridge.web.auth.tokens.jwt import build_jwt_authenticator
from tests.cli.command_process import error_line, run

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret of more than thirty-two bytes" * 2
AUTH = {"AUTH__SECRET": SECRET}


def claims_of(folder: Path, *arguments: str, **settings: str) -> dict[str, Any]:
    result = run(folder, "token", *arguments, **{**AUTH, **settings})
    assert (result.exit_code, result.stderr_lines) == (0, []), result
    (text,) = result.stdout_lines
    claims: dict[str, Any] = jwt.decode(
        text, SECRET, ["HS256", "HS512"], options={"verify_aud": False}
    )
    return claims


def test_it_has_the_account_and_ends_after_an_hour(folder: Path) -> None:
    claims = claims_of(folder, "--sub", "alice")
    assert claims["exp"] - claims["iat"] == 3600
    assert abs(claims["iat"] - time.time()) < 60
    assert claims.keys() == {"sub", "iat", "exp"}, "without --room there are no rooms"


def test_a_short_secret_for_its_algorithm_is_no_news(folder: Path) -> None:
    settings = {"AUTH__SECRET": "x" * 32, "AUTH__ALGORITHMS": '["HS512"]'}
    assert run(folder, "token", "--sub", "a", **settings).stderr_lines == []


def test_rooms_topics_audience_and_issuer(folder: Path) -> None:
    arguments = ["--sub", "alice", "--room", "order:*", "--room", "news", "--topic", "orders"]
    claims = claims_of(folder, *arguments, AUTH__AUDIENCE="push", AUTH__ISSUER="us")
    assert (claims["rooms"], claims["topics"]) == (["order:*", "news"], ["orders"])
    assert (claims["aud"], claims["iss"]) == ("push", "us")


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("7d", 604800)]
)
def test_how_long_it_is_valid(folder: Path, ttl: str, seconds: int) -> None:
    claims = claims_of(folder, "--sub", "alice", "--ttl", ttl)
    assert claims["exp"] - claims["iat"] == seconds


def test_the_bridge_accepts_it(folder: Path) -> None:
    settings = {**AUTH, "AUTH__AUDIENCE": "push", "AUTH__ALGORITHMS": '["HS512"]'}
    (text,) = run(folder, "token", "--sub", "alice", "--room", "a", **settings).stdout_lines
    authenticator, _ = build_jwt_authenticator(
        secret=SECRET, jwks_url=None, algorithms=["HS512"], rules=ClaimRules("push")
    )
    permissions = authenticator.authenticate(Credentials(token=text))
    assert isinstance(permissions, Permissions)
    assert permissions.account == "alice"
    assert permissions.may_join("a")


@pytest.mark.parametrize(
    ("arguments", "settings", "problem"),
    [
        (["--sub", "a"], {"AUTH__JWKS_URL": "https://x/keys"}, "BRIDGE_AUTH__JWKS_URL"),
        (["--sub", "a"], {}, "BRIDGE_AUTH__SECRET"),
        (["--sub", "a"], {"AUTH__MODE": "none"}, "BRIDGE_AUTH__MODE"),
        (["--sub", "a,b"], AUTH, "--sub"),
        (["--sub", "a", "--ttl", "0"], AUTH, "--ttl"),
        (["--sub", "a", "--ttl", "-5"], AUTH, "--ttl"),
        (["--sub", "a", "--ttl", "soon"], AUTH, "--ttl"),
        (["--sub", "a", "--ttl", "999999999999999d"], AUTH, "--ttl"),
    ],
)
def test_what_it_cannot_sign(folder: Path, arguments, settings, problem) -> None:
    assert error_line(run(folder, "token", *arguments, **settings), 2).startswith(problem)
