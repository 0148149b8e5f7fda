"""`check`: the topics that `serve` would read, and its errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.command_process import error_line, run
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from tests.cli.conftest import DevServer


def settings(dev: DevServer, **more: str) -> dict[str, str]:
    return {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "AUTH__MODE": "none"} | more


def test_check_prints_topics(dev, folder):
    (folder / "b.yaml").write_text(
        "topics: [{name: public, kafka: shop.orders.v1, private: true, on_demand: true}, demo]"
    )
    ended = run(folder, "check", "--config", "b.yaml", **settings(dev))
    assert (ended.exit_code, ended.stderr_lines) == (0, [])
    public, demo = ended.stdout_lines
    assert "public" in public
    assert "shop.orders.v1" in public
    assert "private, on demand" in public
    assert "on demand" not in demo
    assert "4 partitions" in demo


def test_check_json_prints_one_line_per_topic(dev, folder):
    ended = run(folder, "check", "--json", **settings(dev, TOPICS='["demo", "orders"]'))
    assert (ended.exit_code, ended.stderr_lines) == (0, [])
    rows = [json.loads(line) for line in ended.stdout_lines]
    assert [(row["topic"], row["kafka"], row["exists"], row["partitions"]) for row in rows] == [
        ("demo", "demo", True, 4),
        ("orders", "orders", True, 4),
    ]
    assert all(row["records"] >= 0 for row in rows)


def test_missing_topic_is_a_warning(dev, folder):
    ended = run(folder, "check", **settings(dev, TOPICS='["demo", "not-yet"]'))
    assert ended.exit_code == 0
    assert ["demo" in line for line in ended.stdout_lines] == [True]
    (warning,) = ended.stderr_lines
    assert "warning" in warning
    assert "not-yet" in warning


def test_unreachable_broker_exits_with_1(folder):
    (port,) = free_ports(1)
    where = f"{HOST}:{port}"
    open_topics = {"TOPICS": '["demo"]', "AUTH__MODE": "none"}
    message = error_line(run(folder, "check", KAFKA__BOOTSTRAP_SERVERS=where, **open_topics), 1)
    assert where in message
    assert "BRIDGE_KAFKA__BOOTSTRAP_SERVERS" in message


def test_missing_topics_or_authentication_exit_with_2(dev, folder):
    assert error_line(run(folder, "check", **settings(dev)), 2).startswith("BRIDGE_TOPICS: ")
    wrong = {**settings(dev, TOPICS='["demo"]'), "AUTH__MODE": "jwt"}
    assert error_line(run(folder, "check", **wrong), 2).startswith("BRIDGE_AUTH__")


def test_a_jwks_that_does_not_answer_exits_with_1(dev, folder):
    (port,) = free_ports(1)
    url = f"http://{HOST}:{port}/keys"
    keys = {"AUTH__MODE": "jwt", "AUTH__JWKS_URL": url, "AUTH__AUDIENCE": "bridge"}
    message = error_line(run(folder, "check", **settings(dev, TOPICS='["demo"]', **keys)), 1)
    assert url in message
    assert "BRIDGE_AUTH__JWKS_URL" in message


def test_a_jwks_without_a_usable_key_exits_with_1(dev, folder):
    (folder / "keys.json").write_text('{"keys": []}')
    keys = {"AUTH__MODE": "jwt", "AUTH__JWKS_URL": "keys.json", "AUTH__AUDIENCE": "bridge"}
    message = error_line(run(folder, "check", **settings(dev, TOPICS='["demo"]', **keys)), 1)
    assert "none of its keys" in message


def test_a_secret_that_is_too_short_exits_with_2(dev, folder):
    short = {"AUTH__MODE": "jwt", "AUTH__SECRET": "12345"}
    message = error_line(run(folder, "check", **settings(dev, TOPICS='["demo"]', **short)), 2)
    assert "BRIDGE_AUTH__SECRET" in message
    assert "12345" not in message
