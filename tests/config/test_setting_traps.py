"""A setting that is written is in force, or the command ends with one line that names it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bridge.config.environment import kubernetes_variables
from bridge.config.settings import SettingError, load_settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a-secret-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty folder without `BRIDGE_*` variables."""
    for name in os.environ:
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def error_of(text: str | bytes | None, folder: Path) -> str:
    config = None
    if text is not None:
        config = folder / "b.yaml"
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingError) as caught:
        load_settings(config)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    return sentence.removeprefix(f"{folder}/")


TWICE = {
    "topics: [a]\nport: 1\ntopics: [b]\n": "b.yaml: topics: line 3: is set twice, first in line 1",
    "kafka:\n  prefix: a\n  prefix: b\n": "b.yaml: kafka.prefix: line 3: is set twice",
    "topics:\n- name: a\n  name: b\n": "b.yaml: topics.0.name: line 3: is set twice",
    "kafka: {prefix: a, prefix: b}": "b.yaml: kafka.prefix: line 1: is set twice",
    'port: 1\n"port": 2\n': "b.yaml: port: line 2: is set twice",
    "x: &x {port: 1, port: 2}\n": "b.yaml: x.port: line 1: is set twice",
}


@pytest.mark.parametrize(("text", "sentence"), TWICE.items())
def test_a_key_that_is_set_twice_is_a_wrong_setting_with_its_line(tmp_path, text, sentence):
    assert error_of(text, tmp_path).startswith(sentence)


TRAPS = {
    "topics: [no, on]": "b.yaml: topics.0: line 1: must be text; YAML reads",
    "topics: [7]": "b.yaml: topics.0: line 1: must be text; YAML reads",
    "topics: [1.5]": "b.yaml: topics.0: line 1: must be text; YAML reads",
    "topics: [2026-01-01]": "b.yaml: topics.0: line 1: must be text; YAML reads",
    "topics: [{name: no}]": "b.yaml: topics.0.name: line 1: must be text; YAML reads",
    "instance: off": "b.yaml: instance: line 1: must be text; YAML reads",
    "kafka: {prefix: 2026-01-01}": "b.yaml: kafka.prefix: line 1: must be text; YAML reads",
    "auth: {mode: off}": "b.yaml: auth.mode: ",
    "on: 1": "b.yaml: on: line 1: a setting's name must be text",
    "kafka: {1: 2}": "b.yaml: kafka.1: line 1: a setting's name must be text",
    "? [a, b]\n: 1": "b.yaml: ?: line 1: a setting's name must be text",
    "port: yes": "b.yaml: port: line 1: must be a number, not true",
    "limits: {rooms: on}": "b.yaml: limits.rooms: line 1: must be a number, not true",
    "heartbeat_seconds: on": "b.yaml: heartbeat_seconds: line 1: must be a number, not true",
    "topics: [{name: a, linger_seconds: on}]": "b.yaml: topics.0.linger_seconds: line 1: must be",
    "port: 0777": "b.yaml: port: line 1: YAML reads this number in another base",
    "heartbeat_seconds: 1:30": "b.yaml: heartbeat_seconds: line 1: YAML reads this number",
    "port: 0x50": "b.yaml: port: line 1: YAML reads this number in another base",
    "port: 8_080": "b.yaml: port: line 1: YAML reads this number in another base",
    "port: 70000": "b.yaml: port: ",
    "heartbeat_seconds: 25s": "b.yaml: heartbeat_seconds: ",
    "heartbeat_seconds: .inf": "b.yaml: heartbeat_seconds: ",
    "limits: {rooms: -1}": "b.yaml: limits.rooms: ",
    "kafka:\n\tprefix: a": "b.yaml: invalid YAML at line 2, column 1; indent with spaces",
    "kafka:": "b.yaml: kafka: ",
    "topics: orders": "b.yaml: topics: ",
    "- topics": "b.yaml: must be a mapping",
    "a: 1\n---\nb: 2": "b.yaml: invalid YAML",
    "x: *nowhere": "b.yaml: invalid YAML",
    "x: 2026-99-99": "b.yaml: invalid YAML",
    "port: !!python/name:os.system": "b.yaml: invalid YAML",
    "x: " + "[" * 20_000: "b.yaml: invalid YAML",
    "port: 1" + "0" * 5_000: "b.yaml: ",
    "topcs: [a]": "b.yaml: topcs: line 1: unknown setting; did you mean topics?",
    "kafka: {bootstrap_server: a}": "b.yaml: kafka.bootstrap_server: line 1: unknown setting;",
    "topics: [{name: a, privat: true}]": "b.yaml: topics.0.privat: line 1: unknown setting;",
    "kafka: {cafile: /etc/hostname, ssl_cafile: /etc/hostname}": "b.yaml: kafka.",
}


@pytest.mark.parametrize(("text", "sentence"), TRAPS.items(), ids=[text[:30] for text in TRAPS])
def test_what_yaml_reads_as_something_else_is_refused_with_a_sentence(tmp_path, text, sentence):
    assert error_of(text, tmp_path).startswith(sentence)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"\xef\xbb\xbf", b"---\n", b"null\n"])
def test_an_empty_file_sets_nothing(tmp_path, text):
    (tmp_path / "b.yaml").write_bytes(text)
    assert load_settings(tmp_path / "b.yaml").port == 8080


def test_a_byte_order_mark_hides_no_setting(tmp_path):
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbfport: 1\n")
    assert load_settings(tmp_path / "b.yaml").port == 1
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfBRIDGE_PORT=2\n")
    assert load_settings().port == 2


def test_a_file_in_another_encoding_is_refused(tmp_path):
    assert error_of("port: 1".encode("utf-16"), tmp_path).startswith("b.yaml: invalid YAML; ")


SERVERS = [
    *("kafka:", ":9092", "", ",", "a:9092,", "a,,b", "a:0", "a:65536", "a:x", "a:9092:1"),
    *("PLAINTEXT://a:9092", "http://a", "a b:9092", "a;b", "a:9092/x", "[::1", "::1", '"a:9092"'),
    *("a:9092\nb:9092", "['a']", "a=b"),
]


@pytest.mark.parametrize("servers", SERVERS)
def test_malformed_bootstrap_servers_are_a_wrong_setting(monkeypatch, tmp_path, servers):
    monkeypatch.setenv("BRIDGE_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert error_of(None, tmp_path).startswith("BRIDGE_KAFKA__BOOTSTRAP_SERVERS: ")


@pytest.mark.parametrize(
    "servers", ["a", "a:1", "a:1,b:65535", "a:1, b", "[::1]:9092", "1.2.3.4:1"]
)
def test_lists_of_hosts_and_ports_are_bootstrap_servers(monkeypatch, servers):
    monkeypatch.setenv("BRIDGE_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert load_settings().kafka.bootstrap_servers == servers


@pytest.mark.parametrize(
    "secret",
    [
        SECRET + "\n",
        f'"{SECRET}"',
        f"'{SECRET}'",
        f" {SECRET}",
        f"{SECRET} ",
        f"{SECRET}\t",
        f"{SECRET}\n{SECRET}",
    ],
)
def test_a_secret_that_a_tool_has_changed_is_refused_and_not_shown(monkeypatch, tmp_path, secret):
    monkeypatch.setenv("BRIDGE_AUTH__SECRET", secret)
    sentence = error_of(None, tmp_path)
    assert sentence.startswith("BRIDGE_AUTH__SECRET: ")
    assert SECRET not in sentence


def test_a_secret_with_quotes_around_it_in_the_file_is_refused(tmp_path):
    text = f"auth:\n  secret: \"'{SECRET}'\"\n"
    assert error_of(text, tmp_path).startswith("b.yaml: auth.secret: line 2: it has quotes")


@pytest.mark.parametrize("name", ["BRIDGE_HOST", "BRIDGE_PORT", "BRIDGE_TOPICS", "BRIDGE_INSTANCE"])
def test_a_variable_with_quotes_around_it_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "'x'")
    assert error_of(None, tmp_path).startswith(f"{name}: has quotes around it")


@pytest.mark.parametrize(
    ("name", "near"),
    [("BRIDGE_PROT", "BRIDGE_PORT"), ("BRIDGE_KAFKA_PREFIX", "BRIDGE_KAFKA__PREFIX")],
)
def test_an_unknown_variable_is_answered_with_the_nearest_name(monkeypatch, tmp_path, name, near):
    monkeypatch.setenv(name, "1")
    assert error_of(None, tmp_path).startswith(f"{name}: unknown setting; did you mean {near}?")


@pytest.mark.parametrize(
    "text", ['[{"name":"a","name":"b"}]', '[{"name":"a"', "orders", "['a']", "[NaN", ""]
)
def test_wrong_json_in_a_variable_is_refused(monkeypatch, tmp_path, text):
    monkeypatch.setenv("BRIDGE_TOPICS", text)
    assert error_of(None, tmp_path).startswith("BRIDGE_TOPICS: ")


def test_a_variable_in_two_spellings_is_set_twice(monkeypatch, tmp_path):
    monkeypatch.setenv("BRIDGE_PORT", "1")
    monkeypatch.setenv("bridge_port", "2")
    assert "set twice" in error_of(None, tmp_path)


@pytest.mark.parametrize("text", ["BRIDGE_PORT=1\nBRIDGE_PORT=2\n", "A=1\nBRIDGE_PORT\n"])
def test_a_line_of_the_env_file_without_effect_is_refused(tmp_path, text):
    (tmp_path / ".env").write_text(text)
    assert error_of(None, tmp_path).startswith(".env: line 2 ")


def test_the_env_file_replaces_nothing_in_a_value(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME_SECRET", "x")
    (tmp_path / ".env").write_text(
        "BRIDGE_AUTH__SECRET=${HOME_SECRET}-thirty-two-characters-long\n"
    )
    secret = load_settings().auth.secret
    assert secret is not None
    assert secret.get_secret_value() == "${HOME_SECRET}-thirty-two-characters-long"


SERVICE = {
    "BRIDGE_SERVICE_HOST": "10.0.0.7",
    "BRIDGE_SERVICE_PORT": "8080",
    "BRIDGE_SERVICE_PORT_HTTP": "8080",
    "BRIDGE_PORT": "tcp://10.0.0.7:8080",
    "BRIDGE_PORT_8080_TCP": "tcp://10.0.0.7:8080",
    "BRIDGE_PORT_8080_TCP_PROTO": "tcp",
    "BRIDGE_PORT_8080_TCP_PORT": "8080",
    "BRIDGE_PORT_8080_TCP_ADDR": "10.0.0.7",
}
ADMIN_SERVICE = {name.replace("BRIDGE_", "BRIDGE_ADMIN_"): value for name, value in SERVICE.items()}


@pytest.mark.parametrize("variables", [SERVICE, ADMIN_SERVICE, SERVICE | ADMIN_SERVICE])
def test_what_kubernetes_sets_for_a_service_is_ignored(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.port == 8080
    assert settings.admin_port is None
    assert kubernetes_variables(os.environ) == sorted(variables)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"BRIDGE_PORT": "tcp://10.0.0.7:8080"}, "BRIDGE_PORT"),
        (SERVICE | {"BRIDGE_PORT_ADMIN": "9000"}, "BRIDGE_PORT_ADMIN"),
        (SERVICE | {"BRIDGE_PORT_8080_TCP_PORT": "x"}, "BRIDGE_PORT_8080_TCP_PORT"),
        (SERVICE | {"BRIDGE_PORT_8080_TCP_PROTO": "http"}, "BRIDGE_PORT_8080_TCP_PROTO"),
        (SERVICE | {"BRIDGE_SERVICE_PORT": "-1"}, "BRIDGE_SERVICE_PORT"),
        (SERVICE | {"BRIDGE_SERVICE_HOST": "a-name"}, "BRIDGE_"),
        (SERVICE | {"BRIDGE_ADMIN_PORT": "tcp://10.0.0.7:1"}, "BRIDGE_ADMIN_PORT"),
        (SERVICE | {"BRIDGE_PORT": "http://10.0.0.7"}, "BRIDGE_PORT"),
    ],
)
def test_what_kubernetes_would_not_set_is_a_wrong_setting(monkeypatch, tmp_path, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert error_of(None, tmp_path).startswith(named)


def test_a_port_beside_a_service_counts(monkeypatch):
    for name, value in (SERVICE | {"BRIDGE_PORT": "9000"}).items():
        monkeypatch.setenv(name, value)
    assert load_settings().port == 9000
