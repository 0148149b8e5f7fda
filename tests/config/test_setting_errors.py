"""An invalid setting is one line that names what to change and shows no secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from bridge.config.settings import SettingError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "a-secret-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty folder without `BRIDGE_*` variables."""
    for name in os.environ:
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_yaml(text: str) -> Path:
        path = tmp_path / "bridge.yaml"
        path.write_text(text)
        return path

    return write_yaml


def setting_error(config: Path | None = None) -> str:
    with pytest.raises(SettingError) as caught:
        load_settings(config)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    return sentence


@pytest.mark.parametrize(
    "own", ["push-bridge.state", "push-bridge.dead-letters", "push-bridge.mine", "__offsets", "__x"]
)
def test_a_topic_of_the_bridge_or_of_kafka_itself_is_a_wrong_setting(write, own):
    for topic in (f"{{name: x, kafka: {own}}}", own, f"{{name: {own}, kafka: x}}"):
        assert "topics: " in setting_error(write(f"topics: [{topic}]"))


@pytest.mark.parametrize(
    "name",
    [
        "BRIDGE_PROT",
        "BRIDGE_",
        "BRIDGE_LIMITS__ROMMS",
        "BRIDGE_TOPICS__0__NAME",
        "BRIDGE_KAFKA__SASL_OAUTH_TOKEN_PROVIDER",
        "BRIDGE_PORT__NUMBER",
    ],
)
def test_an_unknown_variable_is_one_line_that_names_it(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert setting_error().startswith(f"{name}: ")


WRONG = {
    "BRIDGE_PORT": ["x", "", "-1", "65536", "80.5"],
    "BRIDGE_ADMIN_PORT": ["x", "-1"],
    "BRIDGE_KEEPALIVE_SECONDS": ["0", "-1", "inf"],
    "BRIDGE_DRAIN_SECONDS": ["-1", "inf", "nan", "soon"],
    "BRIDGE_LIMITS__HTTP_CONNECTIONS": ["0", "-1", "many"],
    "BRIDGE_HEARTBEAT_SECONDS": ["0", "-1", "soon", "inf", "nan"],
    "BRIDGE_TOPICS": ["orders", '"orders"', "7", "[", '["a","a"]', '["push-bridge.x"]'],
    "BRIDGE_TOPICS__0": ['["a b"]', '["a:b"]', '[""]', '["."]', "[7]"],
    "BRIDGE_TOPICS__0__NAME": ['[{"kafka":"a"}]'],
    "BRIDGE_INSTANCE": ["a b", "a,b", "é"],
    "BRIDGE_AUTH__MODE": ["off", ""],
    "BRIDGE_AUTH__ALGORITHMS": ["HS256", '"HS256"', "[1]"],
    "BRIDGE_ALLOWED_ORIGINS": ["https://a", '"https://a"'],
    "BRIDGE_LIMITS": ["7", "[", '"x"'],
    "BRIDGE_LIMITS__ROOMS": ["-1", "many", "1.5", "[]"],
    "BRIDGE_LIMITS__FRAME_BYTES": ["0", "124"],
    "BRIDGE_LIMITS__FRAMES_PER_SECOND": ["0", "-1", "1.5"],
    "BRIDGE_REPLAY__PASSES": ["0"],
    "BRIDGE_KAFKA__SECURITY_PROTOCOL": ["plaintext", "TLS"],
    "BRIDGE_KAFKA__PREFIX": ["a b", "", "."],
    "BRIDGE_KAFKA__SSL_CAFILE": ["no-such-file", "/"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(n, text) for n, texts in WRONG.items() for text in texts]
)
def test_a_wrong_value_is_one_line_that_names_it(monkeypatch, name, text):
    variable = name.partition("__0")[0]
    monkeypatch.setenv(variable, text)
    assert setting_error().startswith(name)


def test_a_missing_sasl_setting_is_named(monkeypatch):
    monkeypatch.setenv("BRIDGE_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    assert setting_error().startswith("BRIDGE_KAFKA__SASL_PLAIN_USERNAME: ")
    monkeypatch.setenv("BRIDGE_KAFKA__SASL_PLAIN_USERNAME", "u")
    monkeypatch.setenv("BRIDGE_KAFKA__SASL_PLAIN_PASSWORD", "p")
    assert load_settings().kafka.sasl_plain_password == SecretStr("p")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot: 1", "prot"),
        ("limits: {romms: 1}", "limits.romms"),
        ("limits: {rooms: many}", "limits.rooms"),
        ("limits: 7", "limits"),
        ("kafka: null", "kafka"),
        ("kafka: {prefix: a b}", "kafka.prefix"),
        ("kafka: {1: 2}", "kafka.1"),
        ("topics: 7", "topics"),
        ("topics: [a, a]", "topics"),
        ("topics: [a, {name: b, kafka: a}]", "topics.1"),
        ("topics: [{nme: a}]", "topics.0.name"),
        ("topics: [{name: a, kafka: 'b c'}]", "topics.0"),
        ("topics: [a, {name: b, privat: true}]", "topics.1.privat"),
        ("instance: 2026-01-01", "instance"),
        ("instance: duties", "instance"),
        ("instance: dead-letters", "instance"),
        ("instance: blue.duties", "instance"),
    ],
)
def test_an_error_in_the_file_is_one_line_that_names_file_and_setting(write, text, named):
    config = write(text)
    assert setting_error(config).startswith(f"{config}: {named}: ")


def test_an_error_in_the_environment_names_the_variable_despite_a_file(monkeypatch, write):
    monkeypatch.setenv("BRIDGE_PORT", "x")
    assert setting_error(write("port: 80")).startswith("BRIDGE_PORT: ")


@pytest.mark.parametrize(
    "text", ["port: [1", "a: b: c", "\tport: 1", "port: !!python/name:os.system", "1: 2", "- a"]
)
def test_a_file_that_is_no_yaml_mapping_is_one_line_that_names_it(write, text):
    config = write(text)
    assert setting_error(config).startswith(f"{config}: ")


def test_an_unreadable_file_is_one_line_that_names_it(tmp_path):
    assert setting_error(tmp_path / "absent.yaml").startswith(f"{tmp_path / 'absent.yaml'}: ")
    assert setting_error(tmp_path).startswith(f"{tmp_path}: ")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert setting_error(binary).startswith(f"{binary}: ")


def test_an_empty_file_sets_nothing(write):
    assert load_settings(write("# nothing\n")) == load_settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"BRIDGE_PROT=1", "BRIDGE_PROT: "),
        (b"BRIDGE_PORT=x", "BRIDGE_PORT: "),
        (b"A=1\nBRIDGE_PORT: 8080", ".env: line 2 "),
        (b"A=\xff", ".env: "),
    ],
)
def test_an_error_in_env_is_one_line_that_names_it(tmp_path, capfd, text, named):
    (tmp_path / ".env").write_bytes(text)
    assert setting_error().startswith(named)
    assert capfd.readouterr().err == "", "dotenv writes nothing"


@pytest.mark.parametrize("text", ["topics: 7", "topics: [{nme: a}]", "topics: [{name: a b}]"])
def test_topics_of_the_file_are_checked_despite_a_variable(monkeypatch, write, text):
    monkeypatch.setenv("BRIDGE_TOPICS", '["a"]')
    config = write(text)
    assert setting_error(config).startswith(f"{config}: topics")


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BRIDGE_ADMIN_TOKENS", SECRET),
        ("BRIDGE_ADMIN_TOKENS", f'"{SECRET}"'),
        ("BRIDGE_ADMIN_TOKENS", f'{{"{SECRET}": 1}}'),
        ("BRIDGE_ADMIN_TOKENS", f'[["{SECRET}"]]'),
        ("BRIDGE_AUTH", f'"{SECRET}"'),
        ("BRIDGE_AUTH", SECRET),
        ("BRIDGE_AUTH", f'{{"sekret": "{SECRET}"}}'),
        ("BRIDGE_AUTH__SECRETS", SECRET),
        ("BRIDGE_KAFKA__SASL_PASSWORD", SECRET),
        ("BRIDGE_SEKRET", SECRET),
    ],
)
def test_a_secret_is_not_shown_by_a_wrong_variable(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingError, match=f"^{name}") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"auth: {SECRET}",
        f"auth: {{secret: [{SECRET}]}}",
        f"auth: {{sekret: {SECRET}}}",
        f'auth:\n  secret: "{SECRET}',
        f"auth:\n  secret: {SECRET}: x",
        f"auth:\n  secret: *{SECRET}",
        f"auth:\n  secret: !{SECRET} x",
        f"admin_tokens: {SECRET}",
        f"admin_tokens: [[{SECRET}]]",
        f"kafka: {{password: [{SECRET}]}}",
        f"kafka: {{sasl_plain_password: {{a: {SECRET}}}}}",
        f"- {SECRET}",
    ],
)
def test_a_secret_is_not_shown_by_a_wrong_file(tmp_path, text):
    config = tmp_path / "bridge.yaml"
    config.write_text(text)
    with pytest.raises(SettingError, match=f"^{config}: ") as caught:
        load_settings(config)
    assert SECRET not in str(caught.value)


def test_a_secret_is_not_shown_by_a_wrong_env(tmp_path):
    (tmp_path / ".env").write_text(f"BRIDGE_AUTH__SECRET: {SECRET}\n")
    with pytest.raises(SettingError, match=r"^\.env: ") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_a_secret_is_not_shown_by_the_settings_themselves(monkeypatch):
    monkeypatch.setenv("BRIDGE_AUTH__SECRET", SECRET)
    monkeypatch.setenv("BRIDGE_ADMIN_TOKENS", f'["{SECRET}"]')
    monkeypatch.setenv("BRIDGE_KAFKA__SASL_PLAIN_PASSWORD", SECRET)
    monkeypatch.setenv("BRIDGE_KAFKA__PASSWORD", SECRET)
    settings = load_settings()
    assert settings.auth.secret is not None
    assert settings.auth.secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_a_value_that_is_no_secret_is_shown(monkeypatch):
    monkeypatch.setenv("BRIDGE_PORT", "eighty")
    with pytest.raises(SettingError, match="'eighty'"):
        load_settings()
