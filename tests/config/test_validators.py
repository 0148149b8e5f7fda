"""Settings for authentication, origins and tokens. An invalid one is one line that names it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from bridge.app.access import build_authenticator, build_origin_policy
from bridge.config.settings import AuthSettings, SettingError, Settings, load_settings
from bridge.web.auth.authenticator import AllowAll, AuthRefused
from tests.web.authenticator_checks import authenticated, grant_now
from tests.web.token_signing import SECRET, jwk_set, public_jwk, rsa_key, sign_token

HERE = str(Path(__file__))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no `.env` here
    for name in os.environ:
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> Settings:
    for name, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"BRIDGE_{name}", text)
    return load_settings()


TOKEN = "sixteen-letters-"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"AUTH__SECRET": ""}, "AUTH__SECRET"),
    ({"AUTH__SECRET": "s" * 31}, "AUTH__SECRET"),
    ({"AUTH__SECRET": f'"{SECRET}"'}, "AUTH__SECRET"),
    ({"AUTH__SECRET": f"'{SECRET}'"}, "AUTH__SECRET"),
    ({"AUTH__SECRET": f"{SECRET}\n"}, "AUTH__SECRET"),
    ({"AUTH__SECRET": f" {SECRET}"}, "AUTH__SECRET"),
    ({"AUTH__SECRET": f"{SECRET}\r\n"}, "AUTH__SECRET"),
    ({"AUTH__SECRET": PUBLIC}, "AUTH__SECRET"),
    ({"AUTH__SECRET": "ssh-rsa AAAA"}, "AUTH__SECRET"),
    ({"AUTH__SECRET": '{"kty": "RSA", "n": "AQAB"}'}, "AUTH__SECRET"),
    ({"AUTH__SECRET": SECRET, "AUTH__ALGORITHMS": ["RS256"]}, "AUTH__ALGORITHMS"),
    ({"AUTH__SECRET": SECRET, "AUTH__ALGORITHMS": ["HS256", "none"]}, "AUTH__ALGORITHMS"),
    ({"AUTH__SECRET": SECRET, "AUTH__ALGORITHMS": []}, "AUTH__ALGORITHMS"),
    ({"AUTH__ALGORITHMS": ["HS1"]}, "AUTH__ALGORITHMS"),
    ({"AUTH__JWKS_URL": "https://a/", "AUTH__ALGORITHMS": ["HS256"]}, "AUTH__ALGORITHMS"),
    ({"AUTH__JWKS_URL": "https://a/", "AUTH__ALGORITHMS": ["RS256", "HS512"]}, "AUTH__ALGORITHMS"),
    ({"AUTH__JWKS_URL": "https://a/", "AUTH__SECRET": SECRET}, "AUTH__JWKS_URL"),
    ({"AUTH__JWKS_URL": "ftp://a/"}, "AUTH__JWKS_URL"),
    ({"AUTH__JWKS_URL": "https://"}, "AUTH__JWKS_URL"),
    ({"AUTH__JWKS_URL": ""}, "AUTH__JWKS_URL"),
    ({"AUTH__JWKS_URL": "no/such/file.json"}, "AUTH__JWKS_URL"),
    ({"AUTH__JWKS_URL": "file:///no/such/file.json"}, "AUTH__JWKS_URL"),
    ({"AUTH__MODE": "callback"}, "AUTH__CALLBACK_URL"),
    ({"AUTH__CALLBACK_URL": "ftp://a/"}, "AUTH__CALLBACK_URL"),
    ({"AUTH__CALLBACK_URL": "/a/file"}, "AUTH__CALLBACK_URL"),
    ({"AUTH__CALLBACK_URL": "https://me:pass@a/"}, "AUTH__CALLBACK_URL"),
    ({"AUTH__CALLBACK_SECRET": "short"}, "AUTH__CALLBACK_SECRET"),
    ({"AUTH__CALLBACK_HEADERS": ["no header"]}, "AUTH__CALLBACK_HEADERS"),
    ({"AUTH__CALLBACK_TIMEOUT_SECONDS": 0}, "AUTH__CALLBACK_TIMEOUT_SECONDS"),
    ({"AUTH__AUDIENCE": ""}, "AUTH__AUDIENCE"),
    ({"AUTH__ISSUER": ""}, "AUTH__ISSUER"),
    ({"ALLOWED_ORIGINS": ["shop.example"]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": ["https://shop.example/"]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": ["https://*.example"]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": [""]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": ["https://shop.example:99999"]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": ["https://shop..example"]}, "ALLOWED_ORIGINS"),
    ({"ALLOWED_ORIGINS": ["https://:443"]}, "ALLOWED_ORIGINS"),
    ({"TRUSTED_PROXIES": ["nginx"]}, "TRUSTED_PROXIES"),
    ({"TRUSTED_PROXIES": ["10.0.0.0/40"]}, "TRUSTED_PROXIES"),
    ({"ADMIN_TOKENS": [""]}, "ADMIN_TOKENS"),
    ({"ADMIN_TOKENS": ["f" * 15]}, "ADMIN_TOKENS"),
    ({"ADMIN_TOKENS": [TOKEN, "two words, but long enough"]}, "ADMIN_TOKENS"),
    ({"ADMIN_TOKENS": ["t\u00f6ken of some length"]}, "ADMIN_TOKENS"),
    ({"ADMIN_TOKENS": [TOKEN, TOKEN]}, "ADMIN_TOKENS"),
    ({"ADMIN_TOKENS": [{"token": TOKEN, "role": "admin"}]}, "ADMIN_TOKENS__0__ROLE"),
    ({"ADMIN_TOKENS": [{"token": TOKEN, "name": "a\nb"}]}, "ADMIN_TOKENS__0__NAME"),
    ({"ADMIN_TOKENS": [{"token": TOKEN, "rolle": "read"}]}, "ADMIN_TOKENS__0__ROLLE"),
    ({"ADMIN_TOKENS": [{"role": "read"}]}, "ADMIN_TOKENS__0__TOKEN"),
    ({"ADMIN_TOKENS": [{"token": "short"}]}, "ADMIN_TOKENS"),
    ({"ADMIN_PORT": 70_000}, "ADMIN_PORT"),
]


@pytest.mark.parametrize(("given", "named"), WRONG, ids=str)
def test_a_wrong_setting_is_one_line_that_names_it_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingError) as refused:
        loaded(monkeypatch, given)
    sentence = str(refused.value)
    assert sentence.startswith(f"BRIDGE_{named}: ")
    assert "\n" not in sentence
    tokens = [each for each in given.get("ADMIN_TOKENS", ()) if isinstance(each, str)]
    for secret in (given.get("AUTH__SECRET"), TOKEN, *tokens):
        assert not secret or secret not in sentence


@pytest.mark.parametrize(
    "given",
    [
        {"AUTH__SECRET": "s" * 32},
        {"AUTH__SECRET": "\u00e9" * 16},
        {"AUTH__SECRET": SECRET, "AUTH__ALGORITHMS": ["HS256", "HS512"]},
        {"AUTH__JWKS_URL": "https://id.example/jwks.json"},
        {"AUTH__JWKS_URL": "http://127.0.0.1:8000", "AUTH__ALGORITHMS": ["EdDSA", "PS512"]},
        {"AUTH__JWKS_URL": HERE},
        {"AUTH__JWKS_URL": f"file://{HERE}"},
        {"ALLOWED_ORIGINS": ["https://Shop.example", "http://localhost:3000", "*", "null"]},
        {"TRUSTED_PROXIES": ["10.0.0.0/8", "::1", "192.0.2.1", "10.1.2.3/16"]},
        {"ADMIN_TOKENS": [TOKEN, "b+/=~" * 4]},
        {"ADMIN_TOKENS": [{"token": TOKEN, "role": "read", "name": "board"}]},
        {"ADMIN_PORT": 0},
    ],
    ids=str,
)
def test_a_valid_setting_is_accepted(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    loaded(monkeypatch, given)


def test_origins_are_compared_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, {"ALLOWED_ORIGINS": ["HTTPS://Shop.Example"]})
    assert settings.allowed_origins == ["https://shop.example"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://B\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(
    monkeypatch: pytest.MonkeyPatch, given: str, sent: str
) -> None:
    assert loaded(monkeypatch, {"ALLOWED_ORIGINS": [given]}).allowed_origins == [sent]


@pytest.mark.parametrize("origin", ["*", "null"])
def test_an_origin_that_lets_in_any_page_warns(
    caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    build_origin_policy(Settings(allowed_origins=[origin]), loopback_only=False)
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert f"BRIDGE_ALLOWED_ORIGINS has '{origin}'" in said.getMessage()


def test_without_authentication_loopback_answers_only_to_its_own_names() -> None:
    """DNS rebinding: a page of another site names its own host."""
    policy = build_origin_policy(Settings(auth=made(mode="none")), loopback_only=False)
    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080", "app.localhost"):
        assert policy.allows(host, None)
    for host in ("evil.example:8080", "", "127.0.0.1.evil.example"):
        assert not policy.allows(host, None)
    listed = Settings(auth=made(mode="none"), allowed_origins=["https://push.example"])
    policy = build_origin_policy(listed, loopback_only=False)
    assert policy.allows("push.example", "https://push.example")
    assert not policy.allows("evil.example", None)


@pytest.mark.parametrize("settings", [Settings(auth={"mode": "none"}, host="0.0.0.0"), Settings()])
def test_elsewhere_any_host_is_answered(settings: Settings) -> None:
    policy = build_origin_policy(settings, loopback_only=False)
    assert policy.allows("push.example", None)


def test_a_secret_is_not_shown_by_the_settings() -> None:
    assert SECRET not in repr(AuthSettings.model_validate({"secret": SECRET}))


# -- the authenticator -----------------------------------------------------------------------------


def made(**auth: Any) -> AuthSettings:
    return AuthSettings.model_validate(auth)


def test_authentication_off_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    opened, keys = build_authenticator(made(mode="none"), loopback_only=False)
    assert isinstance(opened, AllowAll)
    assert keys is None
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert "authentication is off (BRIDGE_AUTH__MODE=none)" in said.getMessage()


def test_authentication_off_on_loopback_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    build_authenticator(made(mode="none"), loopback_only=True)
    assert caplog.records == []


def test_all_settings_are_checked_in_a_token() -> None:
    auth = made(secret=SECRET, algorithms=["HS512"], audience="push", issuer="me")
    guarded, _ = build_authenticator(auth, loopback_only=False)
    good = {"aud": "push", "iss": "me"}
    assert grant_now(guarded, sign_token(algorithm="HS512", **good)).account == "alice"
    for wrong in (
        sign_token(algorithm="HS256", **good),
        sign_token(algorithm="HS512", aud="push"),
        sign_token(algorithm="HS512", iss="me"),
        sign_token("x" * 64, algorithm="HS512", **good),
    ):
        with pytest.raises(AuthRefused, match="unauthenticated"):
            grant_now(guarded, wrong)


async def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwk_set(public_jwk(rsa_key(), "one")))
    guarded, keys = build_authenticator(made(jwks_url=str(path)), loopback_only=False)
    assert keys is not None
    token = sign_token(rsa_key(), "RS256", "one")
    assert (await authenticated(guarded, token)).account == "alice"
