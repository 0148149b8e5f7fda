"""Names, defaults and precedence of the settings."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from bridge.config.settings import AdminToken, Settings, load_settings
from bridge.config.topics import TopicDefinition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Contract 5.2 and Appendix A: each name with its default and with another value.
PUBLISHED: dict[str, tuple[Any, str, Any]] = {
    "HOST": ("127.0.0.1", "0.0.0.0", "0.0.0.0"),
    "PORT": (8080, "9090", 9090),
    "TOPICS": ([], '["orders"]', [TopicDefinition(name="orders")]),
    "KAFKA__BOOTSTRAP_SERVERS": ("localhost:9092", "a:1,b:2", "a:1,b:2"),
    "KAFKA__PREFIX": ("push-bridge", "other", "other"),
    "KAFKA__SECURITY_PROTOCOL": ("PLAINTEXT", "SSL", "SSL"),
    "AUTH__MODE": ("jwt", "none", "none"),
    "AUTH__SECRET": (
        None,
        "a-secret-of-thirty-two-characters",
        SecretStr("a-secret-of-thirty-two-characters"),
    ),
    "AUTH__JWKS_URL": (None, "https://a/jwks", "https://a/jwks"),
    "AUTH__ALGORITHMS": (None, '["HS512"]', ["HS512"]),
    "AUTH__AUDIENCE": (None, "bridge", "bridge"),
    "AUTH__ISSUER": (None, "https://a", "https://a"),
    "AUTH__REQUIRE_EXP": (False, "true", True),
    "AUTH__CALLBACK_URL": (None, "https://a/ask", "https://a/ask"),
    "AUTH__CALLBACK_HEADERS": (["cookie", "authorization"], '["X-Session"]', ["x-session"]),
    "AUTH__CALLBACK_TIMEOUT_SECONDS": (3, "1.5", 1.5),
    "AUTH__CALLBACK_SECRET": (
        None,
        "a-secret-of-thirty-two-characters",
        SecretStr("a-secret-of-thirty-two-characters"),
    ),
    "ALLOWED_ORIGINS": ([], '["https://a"]', ["https://a"]),
    "ADMIN_TOKENS": (
        [],
        '["a-secret-of-thirty-two-characters"]',
        [AdminToken(token=SecretStr("a-secret-of-thirty-two-characters"))],
    ),
    "ADMIN_HOST": ("", "192.0.2.1", "192.0.2.1"),
    "ADMIN_PORT": (None, "9091", 9091),
    "HEARTBEAT_SECONDS": (25, "0.5", 0.5),
    "KEEPALIVE_SECONDS": (75, "5", 5),
    "DRAIN_SECONDS": (10, "30", 30),
    "LOG_FORMAT": ("text", "json", "json"),
    "STALE_SECONDS": (0, "60", 60),
    "TRUSTED_PROXIES": ([], '["10.0.0.0/8"]', ["10.0.0.0/8"]),
    "LIMITS__CONNECTIONS": (18_000, "1", 1),
    "LIMITS__CONNECTIONS_PER_ACCOUNT": (50, "1", 1),
    "LIMITS__CONNECTIONS_PER_ADDRESS": (0, "1", 1),
    "LIMITS__HANDSHAKES_PER_SECOND": (500, "1", 1),
    "LIMITS__HTTP_CONNECTIONS": (1000, "1", 1),
    "LIMITS__ROOMS": (200, "1", 1),
    "LIMITS__TOPICS": (50, "1", 1),
    "LIMITS__CHANGES_PER_MINUTE": (300, "1", 1),
    "LIMITS__FRAME_BYTES": (65_536, "1000", 1000),
    "LIMITS__FRAMES_PER_SECOND": (200, "50", 50),
    "LIMITS__EVENT_BYTES": (1_048_576, "1", 1),
    "LIMITS__OUTBOX_BYTES": (1_048_576, "1", 1),
    "LIMITS__OUTBOX_SECONDS": (15, "0.5", 0.5),
    "LIMITS__PUBLISHES_PER_SECOND": (1000, "1", 1),
    "LIMITS__DEAD_LETTERS_PER_SECOND": (100, "1", 1),
    "REPLAY__JOURNAL_BYTES": (268_435_456, "1", 1),
    "REPLAY__WARM_SECONDS": (60, "1", 1),
    "REPLAY__MAX_RECORDS": (1_000_000, "1", 1),
    "REPLAY__MAX_BYTES": (1_073_741_824, "1", 1),
    "REPLAY__MAX_AGE_SECONDS": (86_400, "1", 1),
    "REPLAY__PASSES": (2, "1", 1),
    "REPLAY__WAIT_SECONDS": (30, "1", 1),
}


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


def value(settings: Settings, name: str) -> Any:
    found: Any = settings
    for part in name.lower().split("__"):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_setting_has_its_name_and_its_default(monkeypatch, name):
    default, text, other = PUBLISHED[name]
    assert value(load_settings(), name) == default
    monkeypatch.setenv(f"BRIDGE_{name}", text)
    assert value(load_settings(), name) == other


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_setting_is_accepted_in_the_file(write, name):
    _, text, other = PUBLISHED[name]
    plain = json.loads(text) if text[0] == "[" or text.replace(".", "", 1).isdigit() else text
    for part in reversed(name.lower().split("__")):
        plain = {part: plain}
    assert value(load_settings(write(json.dumps(plain))), name) == other


def test_the_instance_is_named_after_host_and_port(monkeypatch):
    monkeypatch.setenv("BRIDGE_PORT", "9090")
    assert load_settings().instance_name == f"{socket.gethostname()}-9090"
    monkeypatch.setenv("BRIDGE_INSTANCE", "blue")
    assert load_settings().instance_name == "blue"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SASL_MECHANISM", "SCRAM-SHA-512"),
        ("SASL_PLAIN_USERNAME", "u"),
        ("SASL_KERBEROS_SERVICE_NAME", "k"),
        ("SASL_KERBEROS_DOMAIN_NAME", "d"),
    ],
)
def test_the_sasl_settings_have_aiokafkas_own_names(monkeypatch, name, text):
    monkeypatch.setenv(f"BRIDGE_KAFKA__{name}", text)
    assert getattr(load_settings().kafka, name.lower()) == text


@pytest.mark.parametrize("name", ["CAFILE", "CERTFILE", "KEYFILE"])
def test_the_tls_settings_have_aiokafkas_own_names(monkeypatch, tmp_path, name):
    path = tmp_path / "some.pem"
    path.touch()
    monkeypatch.setenv(f"BRIDGE_KAFKA__{name}", str(path))
    assert getattr(load_settings().kafka, f"ssl_{name.lower()}") == path


# -- precedence ------------------------------------------------------------------------------------


def test_the_environment_wins_over_env_and_env_over_the_file(monkeypatch, write, tmp_path):
    config = write("port: 1\nhost: file\nlimits: {rooms: 1, topics: 1, frame_bytes: 1001}")
    (tmp_path / ".env").write_text("BRIDGE_PORT=2\nBRIDGE_LIMITS__ROOMS=2\nOTHER=x\n")
    monkeypatch.setenv("BRIDGE_LIMITS__TOPICS", "3")
    monkeypatch.setenv("BRIDGE_PORT", "3")
    settings = load_settings(config)
    assert (settings.host, settings.port) == ("file", 3)
    assert settings.limits.model_dump(include={"rooms", "topics", "frame_bytes"}) == {
        "rooms": 2,
        "topics": 3,
        "frame_bytes": 1001,
    }


def test_the_file_overrides_the_defaults_of_a_command(write):
    assert load_settings(write("host: file"), host="command", port=1).host == "file"
    assert load_settings(write("host: file"), host="command", port=1).port == 1


def test_a_name_may_be_written_in_lower_case(monkeypatch):
    monkeypatch.setenv("bridge_port", "7")
    assert load_settings().port == 7


def test_a_folder_named_env_is_ignored(tmp_path):
    (tmp_path / ".env").mkdir()
    assert load_settings().port == 8080


CATALOGUE = "topics: [{name: a, kafka: shop.a, private: true}, b, {name: c, kafka: shop.c}]"


def test_without_a_variable_all_topics_of_the_file_are_used(write):
    assert [topic.kafka_name for topic in load_settings(write(CATALOGUE)).topics] == [
        "shop.a",
        "b",
        "shop.c",
    ]


def test_the_variable_selects_topics_of_the_file_and_adds_plain_ones(monkeypatch, write):
    monkeypatch.setenv("BRIDGE_TOPICS", '["c", "new", "a"]')
    assert load_settings(write(CATALOGUE)).topics == [
        TopicDefinition(name="c", kafka="shop.c"),
        TopicDefinition(name="new"),
        TopicDefinition(name="a", kafka="shop.a", private=True),
    ]
    monkeypatch.setenv("BRIDGE_TOPICS", "[]")
    assert load_settings(write(CATALOGUE)).topics == []
