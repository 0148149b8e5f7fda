"""No test reads a frame that the schemas have not judged.

Rule: whoever opens a WebSocket parses texts by `tests.harness.frame_schemas`, or
leaves that to somebody who does.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
JUDGE: Final = "tests.harness.frame_schemas"
OPENS: Final = (".connect", ".asyncio.client", ".sync.client")


def imported(tree: ast.AST) -> set[str]:
    """Return the modules that a source imports, or imports something from."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def reads_unjudged(source: str) -> bool:
    """Whether `source` opens WebSockets and reads JSON, and knows nothing of the judge."""
    if "websockets" not in source:
        return False  # it need not be parsed
    tree = ast.parse(source)
    modules = imported(tree)
    opens = any(name.startswith("websockets.") and name.endswith(OPENS) for name in modules)
    reads = any(
        isinstance(node, ast.Attribute) and node.attr == "loads" for node in ast.walk(tree)
    ) or bool({"json.loads", "msgspec"} & modules)
    return opens and reads and not any(f"{name}.".startswith(f"{JUDGE}.") for name in modules)


def test_every_client_of_the_tests_has_its_frames_judged() -> None:
    files = sorted(TESTS.rglob("*.py"))
    assert [str(file) for file in files if reads_unjudged(file.read_text())] == []


@pytest.mark.parametrize(
    "opening",
    [
        "from websockets.asyncio.client import connect",
        "from websockets.sync.client import connect as open",
        "import websockets.sync.client",
        "from websockets import connect",
    ],
)
@pytest.mark.parametrize(
    "reading", ["import json\njson.loads(x)", "from json import loads\nloads(x)", "import msgspec"]
)
def test_a_client_that_has_not_is_found(opening: str, reading: str) -> None:
    assert reads_unjudged(f"{opening}\n{reading}\n")
    assert not reads_unjudged(f"{opening}\n{reading}\nfrom {JUDGE} import read_frame\n")
    assert not reads_unjudged(f"{opening}\nfrom tests.web.websocket_client import Client\n")
    assert not reads_unjudged(f"from websockets.client import ClientProtocol\n{reading}\n")
