"""The client is installed without the bridge: all that it needs is `websockets`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys

class Only:
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        known = top in sys.stdlib_module_names or top == "websockets"
        if known or name == "bridge" or (top == "bridge" and rest.split(".")[0] == "client"):
            return None
        raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Only())
EXTRA
from bridge.client import *
client = Client("http://127.0.0.1:1", token="t")
print(client.state, sorted({name.split(".")[0] for name in sys.modules} & {"fastapi", "msgspec"}))
"""


def alone(extra: str = "") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.replace("EXTRA", extra)
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_client_imports_without_the_bridge() -> None:
    done = alone()
    assert (done.stdout, done.stderr) == ("idle []\n", "")


def test_other_imports_would_be_detected() -> None:
    for other in ("fastapi", "msgspec", "bridge.core.protocol.cursor", "bridge.config.settings"):
        assert f"{other.split('.')[0]}" in alone(f"import {other}").stderr


def test_package_is_marked_as_typed() -> None:
    assert (ROOT / "bridge" / "client" / "py.typed").exists()
