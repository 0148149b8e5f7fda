"""The page's own modules, asked one by one, without a browser."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any, Final

from tests.web.endpoints.test_console import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Imports each line that comes as a module, and answers with a line: what it gives, or its error.
_LOOP: Final = """
import { createInterface } from "node:readline";
for await (const source of createInterface({ input: process.stdin })) {
    const url = "data:text/javascript," + encodeURIComponent(JSON.parse(source));
    const answer = await import(url).then(
        ({ default: value }) => ({ value: value ?? null }), (error) => ({ error: String(error) }));
    console.log(JSON.stringify(answer));
}
"""


class ConsoleModules:
    """Evaluates expressions in one process of Node.js: to start one takes 0.1 s."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._count = 0

    def evaluate(self, module: str, names: str, expression: str) -> Any:
        """The value of an expression that uses `names` of a module, which is loaded afresh."""
        self._count += 1
        module_url = f"{(FOLDER / module).as_uri()}?{self._count}"
        source = f"import {{ {names} }} from {json.dumps(module_url)};\n"
        source += f"export default ({expression});"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "value" in answer, answer
        return answer["value"]


@contextlib.contextmanager
def running_console_modules() -> Iterator[ConsoleModules]:
    """Run the process. The end of its input ends it."""
    command = ["node", "--no-warnings", "--input-type=module", "--eval", _LOOP]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield ConsoleModules(process)
