"""The page's own modules, asked one by one, without a browser."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.web.endpoints.test_console import FOLDER


def evaluate(module: str, names: str, expression: str) -> Any:
    """The value of a JavaScript expression that uses `names` of one of the page's modules."""
    source = (FOLDER / module).as_uri()
    script = f"import {{ {names} }} from {json.dumps(source)};\n"
    script += f"console.log(JSON.stringify({expression}));"
    command = ["node", "--no-warnings", "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
