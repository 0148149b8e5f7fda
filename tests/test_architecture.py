"""This project keeps the rules of its architecture, and each rule fails where it is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.architecture import (
    LAYERS,
    MAX_FUNCTION_LINES,
    MAX_LINES,
    RULES,
    class_names_are_unique_in_a_package,
    every_module_has_a_docstring,
    every_module_has_a_layer,
    imports_go_down,
    long_files,
    modules,
    no_file_is_too_long,
    no_folder_is_crowded,
    no_function_is_too_long,
    no_name_is_a_metaphor,
    no_name_is_vague,
    nothing_imports_in_a_circle,
    packages_of_one_layer_never_meet,
    part,
    settings_are_read_at_the_top,
    some_stand_alone,
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


def test_every_package_of_the_layers_is_there() -> None:
    there = {part(name) for name in modules(ROOT)}
    assert set().union(*LAYERS) <= there


# -- each rule, broken on purpose --------------------------------------------------------------

# With its first line the body of a function that is as long as one may be.
LONGEST: Final = "\n".join(["  x"] * (MAX_FUNCTION_LINES - 1))
JWT: Final = "bridge/web/auth/tokens/jwt.py"
SOUND: Final = {
    "bridge/__init__.py": "",
    "bridge/__main__.py": "from bridge.cli import main",
    "bridge/app/instance.py": "import bridge.config.settings\nimport bridge.kafka.consumer",
    "bridge/cli/__init__.py": "from . import serve",
    "bridge/cli/serve.py": "import bridge.client.it\nfrom ..app import x",
    **{f"bridge/cli/command_{number}.py": "" for number in range(12)},
    **{f"bridge/web/api/{number}.py": "" for number in range(9)},
    "bridge/web/api/__init__.py": "",
    "bridge/client/it.py": "import asyncio\nfrom bridge.client import retry",
    "bridge/client/retry.py": "",
    "bridge/config/settings.py": "import os",
    "bridge/coordination/dead_letters.py": "class DeadLetter:\n def dead_letters(self): ...",
    "bridge/coordination/leader.py": "import logging\nfrom bridge.kafka import consumer",
    "bridge/core/__init__.py": "",
    "bridge/core/journal.py": "from .protocol.cursor import x",
    "bridge/core/ports.py": "from bridge.core.coordination import commands",
    "bridge/core/coordination/commands.py": "from bridge.core.sessions import hub",
    "bridge/core/protocol/cursor.py": "import bridge.core.protocol.names",
    "bridge/core/protocol/frames.py": "import msgspec\nfrom . import names",
    "bridge/core/protocol/names.py": "import re\nfrom datetime import UTC, datetime",
    "bridge/core/replay/catchup.py": "from bridge.core.journal import x",
    "bridge/core/sessions/hub.py": "from typing import Any\nfrom ..protocol.cursor import x",
    "bridge/core/sessions/session.py": "from bridge.core.protocol.frames import x",
    "bridge/kafka/consumer.py": "import time\nfrom .offsets import x\nimport bridge.core.ports",
    "bridge/kafka/offsets.py": "async def x(): print(await time.now())",
    JWT: "import bridge.core.sessions.hub\nfrom bridge import __version__",
    "bridge/web/auth/origins.py": f"class Same:\n def spanning(self):\n{LONGEST}",
    "bridge/core/protocol/event.py": "class Same: ...",
    "bridge/web/console/page.js": "let x",
    "tests/test_it.py": "",
}
CATCHUP: Final = "bridge/core/replay/catchup.py"
LEADER: Final = "bridge/coordination/leader.py"
TYPE_ONLY: Final = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
SESSION: Final = "bridge/core/sessions/session.py"
FRAMES: Final = "bridge/core/protocol/frames.py"
OFFSETS: Final = "bridge/kafka/offsets.py"

BROKEN: Final[list[tuple[Callable[[Path], list[str]], str, str]]] = [
    (every_module_has_a_layer, "bridge/core/novelty.py", ""),
    (every_module_has_a_layer, "bridge/novelty.py", ""),
    (every_module_has_a_layer, "bridge/novelty/__init__.py", ""),
    (imports_go_down, SESSION, "from bridge.core.replay.catchup import x"),
    (imports_go_down, SESSION, "from ..replay import catchup"),
    (imports_go_down, SESSION, TYPE_ONLY + "from bridge.core.ports import x"),
    (imports_go_down, SESSION, "def x():\n    from ...kafka import consumer"),
    (imports_go_down, SESSION, "from bridge import web"),
    (imports_go_down, SESSION, "import bridge.novelty"),
    (imports_go_down, FRAMES, "from bridge.core import journal"),
    (imports_go_down, "bridge/core/journal.py", "import bridge.core.sessions.hub"),
    (
        packages_of_one_layer_never_meet,
        CATCHUP,
        "import bridge.core.coordination.commands",
    ),
    (imports_go_down, "bridge/core/__init__.py", "from bridge.core.protocol.names import x"),
    (imports_go_down, "bridge/__init__.py", "from bridge.core.protocol.names import x"),
    (imports_go_down, LEADER, "from bridge.app.instance import x"),
    (
        packages_of_one_layer_never_meet,
        LEADER,
        "import bridge.config.topics",
    ),
    (imports_go_down, JWT, "from bridge import coordination"),
    (imports_go_down, "bridge/app/instance.py", "import bridge.cli.listen"),
    (nothing_imports_in_a_circle, OFFSETS, "from bridge.kafka import consumer"),
    (nothing_imports_in_a_circle, OFFSETS, TYPE_ONLY + "from .consumer import x"),
    (nothing_imports_in_a_circle, OFFSETS, "import bridge.kafka.offsets"),
    (packages_of_one_layer_never_meet, OFFSETS, "import bridge.web.auth.tokens.jwt"),
    (packages_of_one_layer_never_meet, JWT, TYPE_ONLY + "from bridge.kafka.consumer import x"),
    (packages_of_one_layer_never_meet, JWT, "from bridge import client"),
    (some_stand_alone, "bridge/client/retry.py", "from bridge.core.protocol.cursor import x"),
    (some_stand_alone, "bridge/client/retry.py", "import bridge"),
    (some_stand_alone, "bridge/bench/plan.py", "from bridge.core.protocol.names import x"),
    (settings_are_read_at_the_top, "bridge/__main__.py", "from bridge.config.settings import x"),
    (
        settings_are_read_at_the_top,
        "bridge/__main__.py",
        TYPE_ONLY + "from bridge.config import settings",
    ),
    *(
        (the_core_uses_values_only, FRAMES, f"import {name}")
        for name in (
            *("asyncio", "logging", "os", "os.path", "random", "secrets", "socket", "ssl"),
            *("subprocess", "threading", "time", "urllib.request", "uuid", "pydantic"),
        )
    ),
    (the_core_uses_values_only, FRAMES, "def x():\n    from time import sleep"),
    (the_core_never_waits, FRAMES, "async def x(): ..."),
    (the_core_never_waits, FRAMES, "class X:\n    async def x(self): ..."),
    (the_core_never_waits, FRAMES, "y = [x async for x in y]"),
    (the_core_asks_no_clock, FRAMES, "x = datetime.now(UTC)"),
    (the_core_asks_no_clock, FRAMES, "x = datetime.datetime.utcnow()"),
    (the_core_asks_no_clock, FRAMES, "x = date.today"),
    (the_core_opens_no_door, FRAMES, "x = open('/etc/hosts')"),
    (the_core_opens_no_door, FRAMES, "__import__('time').sleep(1)"),
    (every_module_has_a_docstring, OFFSETS, "-"),
    (every_module_has_a_docstring, "bridge/core/__init__.py", "-"),
    (no_file_is_too_long, OFFSETS, "\n" * MAX_LINES),
    (no_file_is_too_long, "bridge/web/console/page.js", "\n" * (MAX_LINES + 1)),
    (no_file_is_too_long, "tests/test_it.py", "\n" * MAX_LINES),
    (no_function_is_too_long, OFFSETS, f"def x():\n{LONGEST}\n  x"),
    (no_function_is_too_long, OFFSETS, f"class X:\n async def x():\n{LONGEST}\n  x"),
    (no_folder_is_crowded, "bridge/web/api/more.py", ""),
    (no_folder_is_crowded, "bridge/web/api/more/it.js", ""),
    (class_names_are_unique_in_a_package, JWT, "class Same: ..."),
    (class_names_are_unique_in_a_package, OFFSETS, "class X: ...\nclass Y:\n class X: ..."),
    (no_name_is_a_metaphor, "bridge/kafka/court.py", ""),
    (no_name_is_a_metaphor, "bridge/web/span/it.py", ""),
    (no_name_is_a_metaphor, "bridge/web/staff/__init__.py", ""),
    (no_name_is_a_metaphor, OFFSETS, "class TapeReader: ..."),
    (no_name_is_a_metaphor, OFFSETS, "class HTTPSpan: ..."),
    (no_name_is_a_metaphor, OFFSETS, "class Letter: ..."),
    (no_name_is_a_metaphor, OFFSETS, "def x():\n async def read_casualties(): ..."),
    *(
        (no_name_is_vague, path, "")
        for path in (
            "bridge/kafka/topic_manager.py",
            "bridge/web/errorhandler.py",
            "bridge/cli/Helpers.py",
            "bridge/web/util/__init__.py",
            "bridge/web/console/utils.js",
            "tests/test_helper.py",
        )
    ),
]


def build(root: Path, files: dict[str, str]) -> Path:
    for path, source in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        documented = path.endswith(".py") and source != "-"
        (root / path).write_text(f'"""It."""\n{source}' if documented else source.strip("-"))
    return root


@pytest.fixture(scope="module")
def sound_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sound"), SOUND)


def test_a_sound_tree_breaks_no_rule(sound_tree: Path) -> None:
    assert [broken for rule in RULES for broken in rule(sound_tree)] == []


@pytest.mark.parametrize(
    ("broken", "path", "source"), BROKEN, ids=lambda it: getattr(it, "__name__", "")
)
def test_each_rule_and_no_other_sees_that_it_is_broken(
    sound_tree: Path, broken: Callable[[Path], list[str]], path: str, source: str
) -> None:
    build(sound_tree, {path: source})
    try:
        assert [rule.__name__ for rule in RULES if rule(sound_tree)] == [broken.__name__]
    finally:
        (sound_tree / path).unlink()
        build(sound_tree, {path: SOUND[path]} if path in SOUND else {})


def test_every_rule_is_broken_on_purpose() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_a_long_file_is_a_warning_until_it_is_too_long(tmp_path: Path) -> None:
    build(tmp_path, SOUND)
    assert long_files(tmp_path) == []
    for lines in (500, 501, MAX_LINES, MAX_LINES + 1):
        (tmp_path / "tests/test_it.py").write_text("\n" * lines)
        assert bool(long_files(tmp_path)) is (500 < lines <= MAX_LINES)
