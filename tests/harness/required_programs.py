"""The programs that some tests need, and what to install where one is absent.

The rule kept here: a test that can not run says, in one sentence, what would let it run.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

#: The first one with a WebSocket, if behind a flag.
MIN_NODE_VERSION = (20, 10)
# By marker: what it is for, and each Debian package with the commands of which one is enough.
REQUIRED_PROGRAMS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "kafka": (
        "real Kafka needs Java 17 and Maven",
        {
            "openjdk-17-jre-headless": ("java",),
            "maven": ("mvn",),
            "util-linux": ("setpriv",),
        },
    ),
    "browser": (
        "a real browser is needed",
        {
            "chromium": ("chromium", "chromium-browser", "google-chrome"),
            "chromium-driver": ("chromedriver",),
        },
    ),
    "node": ("the JavaScript client needs Node.js", {"nodejs": ("node",)}),
    "npm": (
        "packages for JavaScript need Node.js and npm",
        {"nodejs": ("node",), "npm": ("npm",)},
    ),
    "curl": ("the tests of `curl` need it", {"curl": ("curl",)}),
    "wget": ("the tests of `wget` need it", {"wget": ("wget",)}),
    "java": ("a backend in Java needs a JDK 17", {"openjdk-17-jdk-headless": ("javac",)}),
    "nginx": ("the proxy tests need nginx", {"nginx": ("nginx",)}),
    "prometheus": ("the alerts' tests need Prometheus", {"prometheus": ("promtool",)}),
}


def missing_sentence(marker: str) -> str | None:
    """The sentence that says what to install for tests with this marker; None if all is there."""
    purpose, packages = REQUIRED_PROGRAMS[marker]
    absent = [
        f"`{package}`"
        for package, commands in packages.items()
        if not any(shutil.which(command) for command in commands)
    ]
    if not absent and "nodejs" in packages and node_version() < MIN_NODE_VERSION:
        version = ".".join(map(str, MIN_NODE_VERSION))
        return f"{purpose} {version} or newer: install `nodejs` from nodejs.org"
    return f"{purpose}: install {' and '.join(absent)}" if absent else None


@cache
def node_version() -> tuple[int, ...]:
    """The version of the Node.js that is there."""
    output = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return tuple(int(number) for number in output.strip().removeprefix("v").split("."))
