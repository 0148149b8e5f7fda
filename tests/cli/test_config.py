"""`config`: every setting, its value and its source; and not one secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.cli.config import hide_credentials
from bridge.config.settings import Settings
from tests.cli.command_process import error_line, run

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"


def config(folder: Path, *arguments: str, **settings: str) -> dict[str, tuple[Any, str]]:
    """Return value and source by name."""
    result = run(folder, "config", "--json", *arguments, **settings)
    assert (result.exit_code, result.stderr_lines) == (0, []), result
    rows = [json.loads(line) for line in result.stdout_lines]
    assert all(row.keys() == {"name", "value", "source"} for row in rows)
    return {row["name"]: (row["value"], row["source"]) for row in rows}


def test_every_setting_has_a_source(folder: Path) -> None:
    (folder / ".env").write_text("BRIDGE_HOST=0.0.0.0\nBRIDGE_PORT=1\n")
    (folder / "b.yaml").write_text("port: 2\nlimits: {rooms: 7}\nkafka: {cafile: b.yaml}\n")
    found = config(folder, "--config", "b.yaml", PORT="9", KAFKA__PREFIX="x")
    assert found["BRIDGE_PORT"] == (9, "environment")
    assert found["BRIDGE_KAFKA__PREFIX"] == ("x", "environment")
    assert found["BRIDGE_HOST"] == ("0.0.0.0", ".env")
    assert found["BRIDGE_LIMITS__ROOMS"] == (7, "b.yaml")
    assert found["BRIDGE_KAFKA__SSL_CAFILE"] == ("b.yaml", "b.yaml")
    assert found["BRIDGE_LIMITS__TOPICS"] == (50, "default")
    assert found["BRIDGE_ADMIN_PORT"] == (None, "default")


def test_a_group_in_one_variable_is_from_the_environment(folder: Path) -> None:
    found = config(folder, LIMITS='{"rooms": 3}')
    assert found["BRIDGE_LIMITS__ROOMS"] == (3, "environment")


def test_it_lists_all_settings(folder: Path) -> None:
    names = config(folder).keys()
    assert {name.split("__")[0] for name in names} == {
        f"BRIDGE_{name.upper()}" for name in Settings.model_fields
    }


def test_lines_can_be_set_again(folder: Path) -> None:
    topics = '["a", {"name": "b", "private": true}]'
    result = run(folder, "config", TOPICS=topics, LOG_LEVEL="debug")
    assert 'BRIDGE_TOPICS=[{"name": "a"}, {"name": "b", "private": true}]  # environment' in (
        result.stdout_lines
    )
    assert "BRIDGE_LOG_LEVEL=debug  # environment" in result.stdout_lines
    assert "BRIDGE_ADMIN_PORT=  # default" in result.stdout_lines


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    "signed_by",
    [
        {"AUTH__SECRET": SECRET, "AUTH__CALLBACK_SECRET": SECRET},
        {"AUTH__JWKS_URL": f"https://192.0.2.1/keys?key={SECRET}"},
    ],
)
def test_no_secret_is_printed(folder: Path, form: list[str], signed_by: dict[str, str]) -> None:
    settings = {
        **signed_by,
        "AUTH__CALLBACK_URL": f"http://127.0.0.1/ask?key={SECRET}",
        "ADMIN_TOKENS": json.dumps([SECRET, {"token": f"{SECRET}2", "name": "ops"}]),
        "KAFKA__SASL_PLAIN_PASSWORD": SECRET,
        "KAFKA__SSL_PASSWORD": SECRET,
    }
    result = run(folder, "config", *form, **settings)
    text = "\n".join(result.stdout_lines)
    assert result.exit_code == 0
    assert SECRET not in text
    assert "http://127.0.0.1/ask?***" in text
    assert ("https://192.0.2.1/keys?***" in text) == ("AUTH__JWKS_URL" in signed_by)
    assert "ops" in text


def test_a_wrong_setting_is_named(folder: Path) -> None:
    assert error_line(run(folder, "config", PORT="many"), 2).startswith("BRIDGE_PORT")


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("https://u:p@h/x?a=b#c", "https://***@h/x?***#c"),
        ("https://u@h", "https://***@h"),
        ("https://u:p@w@h/x", "https://***@h/x"),
        ("http://a:1/x,http://u:p@b:2/y?z", "http://a:1/x,http://***@b:2/y?***"),
        ("http://h/a@b", "http://h/a@b"),
        ("plain", "plain"),
    ],
)
def test_user_and_query_of_a_url_are_hidden(url: str, printed: str) -> None:
    assert hide_credentials(url) == printed
