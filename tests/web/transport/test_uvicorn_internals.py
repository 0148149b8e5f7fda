"""uvicorn as it is installed fits the bridge, and every change inside is found at the start."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

import bridge
from bridge.web.transport import uvicorn_internals
from bridge.web.transport.server import DrainingServer
from bridge.web.transport.uvicorn_internals import (
    ATTRIBUTES,
    METHODS,
    OPTIONS,
    UnsupportedUvicorn,
    check_uvicorn,
)

NEEDED_METHODS = [(owner, name) for owner, names in METHODS.items() for name in names]
NEEDED_ATTRIBUTES = [(owner, name) for owner, names in ATTRIBUTES.items() for name in names]


def difference() -> str:
    """What the check says of the uvicorn that is installed."""
    with pytest.raises(UnsupportedUvicorn) as unsupported:
        check_uvicorn()
    return str(unsupported.value)


def test_the_uvicorn_that_is_installed_fits() -> None:
    check_uvicorn()


@pytest.mark.parametrize(("owner", "name"), NEEDED_METHODS)
def test_a_method_with_another_parameter_is_found(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "__version__", "0.99.1")
    monkeypatch.setattr(owner, name, lambda _self, surprise: None)  # noqa: ARG005
    assert difference().startswith(
        f"uvicorn 0.99.1 does not fit the bridge: {owner.__name__}.{name} takes (surprise), not ("
    )
    assert difference().endswith("; install uvicorn 0.54.*")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, name in NEEDED_METHODS if not hasattr(owner.__mro__[1], name)],
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
    found = uvicorn_internals._set_attributes

    def without(asked: type) -> set[str]:
        return found(asked) - ({name} if asked is owner else set())

    monkeypatch.setattr(uvicorn_internals, "_set_attributes", without)
    assert f"{owner.__name__} has no attribute {name};" in difference()


def test_an_attribute_counts_where_a_method_sets_it() -> None:
    class Renamed:
        def __init__(self) -> None:
            self.cycle, self.flows = 1, 2

        def read(self) -> Any:
            return self.flow  # type: ignore[attr-defined]  # it is read, and set by nobody

    assert uvicorn_internals._set_attributes(Renamed) == {"cycle", "flows"}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_is_gone_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = [each for each in OPTIONS if each != name]
    function: dict[str, Any] = {}
    exec(f"def config({', '.join(rest)}): pass", function)
    monkeypatch.setattr(uvicorn_internals, "Config", function["config"])
    assert f"Config has no option {name};" in difference()


def test_a_server_is_not_built_on_another_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestResponseCycle, "run_asgi", lambda _self, early: None)  # noqa: ARG005

    async def drain() -> None: ...

    with pytest.raises(UnsupportedUvicorn, match="run_asgi takes"):
        DrainingServer(drain, None, drain)  # type: ignore[arg-type]


def test_one_module_imports_uvicorn() -> None:
    package = Path(bridge.__file__).parent
    importers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "uvicorn" in (source := path.read_text())  # else it need not be parsed
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("uvicorn"))
        or (isinstance(node, ast.Import) and any(n.name.startswith("uvicorn") for n in node.names))
    }
    assert importers == {"web/transport/uvicorn_internals.py"}
