"""This project keeps the rules of its architecture, and each rule fails where it is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.architecture import (
    CORE,
    MAX_LINES,
    RULES,
    every_module_has_a_docstring,
    every_module_has_a_floor,
    imports_go_down,
    modules,
    no_file_is_long,
    no_name_is_vague,
    nothing_imports_in_a_circle,
    settings_are_read_at_the_top,
    some_stand_alone,
    the_banks_never_meet,
    the_core_asks_no_clock,
    the_core_never_waits,
    the_core_opens_no_door,
    the_core_uses_values_only,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_project_keeps(rule: Callable[[Path], list[str]]) -> None:
    assert rule(ROOT) == []


def test_every_floor_of_the_core_is_of_a_module_that_is_there() -> None:
    there = {name.removeprefix("bridge.core.") for name in modules(ROOT)}
    assert set().union(*CORE) <= there


# -- each rule, broken on purpose --------------------------------------------------------------

SOUND: Final = {
    "bridge/__init__.py": "",
    "bridge/__main__.py": "from bridge.cli import main",
    "bridge/app.py": "from bridge import settings\nfrom bridge.kafka import feed",
    "bridge/cli/__init__.py": "from . import serve",
    "bridge/cli/serve.py": "import bridge.settings\nfrom ..app import x\nimport bridge.client.it",
    "bridge/client/it.py": "import asyncio\nfrom bridge.client import retry",
    "bridge/client/retry.py": "",
    "bridge/core/__init__.py": "",
    "bridge/core/hub.py": "from typing import Any\nfrom .position import x\nfrom . import wire",
    "bridge/core/name.py": "import re\nfrom datetime import UTC, datetime",
    "bridge/core/position.py": "import bridge.core.name\nfrom bridge.core import close",
    "bridge/core/session.py": "from bridge.core.outbox import Outbox",
    "bridge/core/wire.py": "import msgspec",
    "bridge/kafka/feed.py": "import time\nfrom .ends import x\nfrom bridge.core.hub import x",
    "bridge/kafka/ends.py": "async def x(): print(await time.now())",
    "bridge/settings.py": "import os",
    "bridge/telemetry.py": "import logging",
    "bridge/web/gate.py": "from bridge.core import hub\nfrom bridge import __version__",
    "bridge/web/console/page.js": "let x",
    "tests/test_it.py": "",
}
TYPE_ONLY: Final = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "

BROKEN: Final[list[tuple[Callable[[Path], list[str]], str, str]]] = [
    (every_module_has_a_floor, "bridge/core/novelty.py", ""),
    (every_module_has_a_floor, "bridge/novelty.py", ""),
    (every_module_has_a_floor, "bridge/novelty/__init__.py", ""),
    (imports_go_down, "bridge/core/session.py", "import bridge.core.hub"),
    (imports_go_down, "bridge/core/session.py", "from bridge.core.router import x"),
    (imports_go_down, "bridge/core/session.py", "from . import hub"),
    (imports_go_down, "bridge/core/session.py", TYPE_ONLY + "from bridge.core.hub import Hub"),
    (imports_go_down, "bridge/core/session.py", "def x():\n    from ..kafka import feed"),
    (imports_go_down, "bridge/core/session.py", "from bridge import web"),
    (imports_go_down, "bridge/core/session.py", "import bridge.novelty"),
    (imports_go_down, "bridge/core/__init__.py", "from bridge.core.close import Close"),
    (imports_go_down, "bridge/__init__.py", "from bridge.core.close import Close"),
    (imports_go_down, "bridge/telemetry.py", "from bridge.app import x"),
    (imports_go_down, "bridge/web/gate.py", "from bridge import telemetry"),
    (imports_go_down, "bridge/app.py", "import bridge.cli.listen"),
    (nothing_imports_in_a_circle, "bridge/kafka/ends.py", "from bridge.kafka import feed"),
    (nothing_imports_in_a_circle, "bridge/kafka/ends.py", TYPE_ONLY + "from .feed import x"),
    (nothing_imports_in_a_circle, "bridge/kafka/ends.py", "import bridge.kafka.ends"),
    (the_banks_never_meet, "bridge/kafka/ends.py", "import bridge.web.gate"),
    (the_banks_never_meet, "bridge/web/gate.py", TYPE_ONLY + "from bridge.kafka.feed import x"),
    (the_banks_never_meet, "bridge/web/gate.py", "from bridge import client"),
    (some_stand_alone, "bridge/client/retry.py", "from bridge.core.position import x"),
    (some_stand_alone, "bridge/client/retry.py", "import bridge"),
    (some_stand_alone, "bridge/bench/crew.py", "from bridge.core.close import x"),
    (settings_are_read_at_the_top, "bridge/__main__.py", "from bridge.settings import x"),
    (settings_are_read_at_the_top, "bridge/__main__.py", TYPE_ONLY + "from bridge import settings"),
    *(
        (the_core_uses_values_only, "bridge/core/wire.py", f"import {name}")
        for name in (
            *("asyncio", "logging", "os", "os.path", "random", "secrets", "socket", "ssl"),
            *("subprocess", "threading", "time", "urllib.request", "uuid", "pydantic"),
        )
    ),
    (the_core_uses_values_only, "bridge/core/wire.py", "def x():\n    from time import sleep"),
    (the_core_never_waits, "bridge/core/wire.py", "async def x(): ..."),
    (the_core_never_waits, "bridge/core/wire.py", "class X:\n    async def x(self): ..."),
    (the_core_never_waits, "bridge/core/wire.py", "y = [x async for x in y]"),
    (the_core_asks_no_clock, "bridge/core/wire.py", "x = datetime.now(UTC)"),
    (the_core_asks_no_clock, "bridge/core/wire.py", "x = datetime.datetime.utcnow()"),
    (the_core_asks_no_clock, "bridge/core/wire.py", "x = date.today"),
    (the_core_opens_no_door, "bridge/core/wire.py", "x = open('/etc/hosts')"),
    (the_core_opens_no_door, "bridge/core/wire.py", "__import__('time').sleep(1)"),
    (every_module_has_a_docstring, "bridge/kafka/ends.py", "-"),
    (every_module_has_a_docstring, "bridge/core/__init__.py", "-"),
    (no_file_is_long, "bridge/kafka/ends.py", "\n" * MAX_LINES),
    (no_file_is_long, "bridge/web/console/page.js", "\n" * (MAX_LINES + 1)),
    (no_file_is_long, "tests/test_it.py", "\n" * MAX_LINES),
    *(
        (no_name_is_vague, path, "")
        for path in (
            *(
                "bridge/kafka/topic_manager.py",
                "bridge/web/errorhandler.py",
                "bridge/cli/Helpers.py",
            ),
            *("bridge/web/util/__init__.py", "bridge/web/console/utils.js", "tests/test_helper.py"),
        )
    ),
]


def build(root: Path, files: dict[str, str]) -> Path:
    for path, source in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        documented = path.endswith(".py") and source != "-"
        (root / path).write_text(f'"""It."""\n{source}' if documented else source.strip("-"))
    return root


def test_a_sound_tree_breaks_no_rule(tmp_path: Path) -> None:
    build(tmp_path, SOUND)
    assert [broken for rule in RULES for broken in rule(tmp_path)] == []


@pytest.mark.parametrize(
    ("broken", "path", "source"), BROKEN, ids=lambda it: getattr(it, "__name__", "")
)
def test_each_rule_and_no_other_sees_that_it_is_broken(
    tmp_path: Path, broken: Callable[[Path], list[str]], path: str, source: str
) -> None:
    build(tmp_path, {**SOUND, path: source})
    assert [rule.__name__ for rule in RULES if rule(tmp_path)] == [broken.__name__]


def test_every_rule_is_broken_on_purpose() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
