"""The installed aiokafka fits the bridge, and every change inside is found at the start."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiokafka
import pytest
import typer
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import Int32, Schema

import bridge
from bridge.cli.runner import run_instance
from bridge.kafka.client import aiokafka_internals
from bridge.kafka.client.aiokafka_internals import (
    ATTRIBUTES,
    FIELDS,
    METHODS,
    UnsupportedAiokafka,
    check_aiokafka,
    disable_topic_refresh,
)
from bridge.kafka.client.client import KafkaClient
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED_METHODS = [(owner, name) for owner, names in METHODS.items() for name in names]
NEEDED_ATTRIBUTES = [(owner, name) for owner, names in ATTRIBUTES.items() for name in names]
#: Parts of aiokafka with a public documentation: they may be imported anywhere.
PUBLIC_MODULES = {
    "aiokafka",
    "aiokafka.abc",
    "aiokafka.admin",
    "aiokafka.errors",
    "aiokafka.helpers",
}


def difference() -> str:
    """Return the sentence about the installed aiokafka."""
    with pytest.raises(UnsupportedAiokafka) as unsupported:
        check_aiokafka()
    return str(unsupported.value)


def test_the_installed_aiokafka_fits() -> None:
    check_aiokafka()


@pytest.mark.parametrize(("owner", "name"), NEEDED_METHODS)
def test_a_method_with_another_parameter_is_found(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiokafka, "__version__", "0.99.1")
    monkeypatch.setattr(owner, name, lambda self, surprise: None)  # noqa: ARG005
    assert difference().startswith(
        f"aiokafka 0.99.1 does not fit the bridge: {owner.__name__}.{name} takes (surprise), not ("
    )
    assert difference().endswith("; install aiokafka 0.14.*")


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, name in NEEDED_METHODS if name != "__init__"]
)
def test_a_method_that_is_gone_is_found(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(owner, name)
    assert f"{owner.__name__} has no method {name};" in difference()


@pytest.mark.parametrize(("owner", "name"), NEEDED_ATTRIBUTES)
def test_an_attribute_that_is_gone_is_found(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = aiokafka_internals._attributes

    def without(asked: type) -> set[str]:
        return found(asked) - ({name} if asked is owner else set())

    monkeypatch.setattr(aiokafka_internals, "_attributes", without)
    assert f"{owner.__name__} has no attribute {name};" in difference()


def test_an_attribute_counts_if_the_class_has_it_or_a_method_sets_it() -> None:
    class Renamed:
        def __init__(self) -> None:
            self._conns = {}  # type: ignore[var-annotated]

        @property
        def sender_task(self) -> Any:
            return self._topics  # type: ignore[attr-defined]  # it is read, and no method sets it

    found = aiokafka_internals._attributes(Renamed)
    assert {"_conns", "sender_task"} <= found
    assert "_topics" not in found


@pytest.mark.parametrize("request_class", FIELDS)
def test_a_request_with_another_field_is_found(
    request_class: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_class, "SCHEMA", Schema(("surprise", Int32)))
    assert f"{request_class.__name__} has the fields (surprise), not (" in difference()


async def test_a_client_is_not_built_on_another_aiokafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaClient, "get_random_node", lambda self, rack: None)  # noqa: ARG005
    with pytest.raises(UnsupportedAiokafka, match=r"get_random_node takes \(rack\), not \(\)"):
        KafkaClient(plaintext_access("localhost:9"))


async def test_an_instance_on_another_aiokafka_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AIOKafkaClient, "get_random_node", lambda self, rack: None)  # noqa: ARG005
    with pytest.raises(typer.Exit) as ended:
        await run_instance(None, plaintext_access("localhost:9"), None, print)  # type: ignore[arg-type]
    assert ended.value.exit_code == 1
    assert f"aiokafka {aiokafka.__version__} does not fit the bridge" in " ".join(
        capsys.readouterr().err.split()
    )


async def test_a_client_refreshes_no_topic_by_itself() -> None:
    client = AIOKafkaClient(bootstrap_servers="localhost:9")
    assert not client._topics  # aiokafka takes this for every topic
    disable_topic_refresh(client)
    assert client._topics
    assert list(client._topics) == []


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_one_module_imports_aiokafkas_private_parts() -> None:
    package = Path(bridge.__file__).parent
    importers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "aiokafka" in (source := path.read_text())  # else it need not be parsed
        for module in imported_modules(ast.parse(source))
        if module.partition(".")[0] == "aiokafka" and module not in PUBLIC_MODULES
    }
    assert importers == {
        "kafka/client/aiokafka_internals.py",
        "coordination/state_writer.py",  # a name for the type checker alone
    }
