"""The rules of the architecture, read from the source itself.

A rule is a function from a project's root to the sentences that say where it is broken. So the
same function judges this project and the tiny made-up ones that show that it can fail.
"""

from __future__ import annotations

import ast
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_LINES: Final = 300

# The core, ground first: a module imports from lower floors only, never sideways, never up.
CORE: Final = (
    {
        *("name", "close", "moment", "event", "types", "grant", "outbox", "replay", "bounds"),
        *("histogram", "trace"),
    },
    {"position", "envelope", "session", "segment", "tally"},
    {"log", "router", "wire", "interest", "journal", "crowd", "command", "ledger"},
    {"demand", "fanout", "frames", "progress", "scan", "roster", "members", "lifecycle", "outlet"},
    {"hub", "census", "recall", "page"},
    {"catchup", "dialogue", "regrant", "backend", "directory", "history"},
)
# Above the core, in order. A folder is a floor: within it, everything but a cycle.
ABOVE: Final = (
    {"kafka", "web", "client", "bench", "catalogue"},
    {"settings", "telemetry", "memory", "figures", "feeds"},
    {"office", "burial"},
    {"span", "staff"},
    {"switch"},
    {"app"},
    {"cli"},
    {"__main__"},
)
BANKS: Final = frozenset({"kafka", "web"})
ALONE: Final = {"client": "is installed without the bridge", "bench": "measures from outside"}
SIDES: Final = BANKS | set(ALONE)
FOLDERS: Final = SIDES | {"cli"}
READS_SETTINGS: Final = frozenset({"app", "cli"})
# What the core may use of others: values and conversions; nothing that waits, asks or writes.
PURE: Final = {
    *("__future__", "array", "base64", "binascii", "bisect", "collections", "contextlib"),
    *("dataclasses", "datetime", "decimal", "enum", "functools", "hashlib", "heapq", "itertools"),
    *("json", "math", "msgspec", "operator", "re", "string", "struct", "types", "typing"),
    *("urllib.parse", "zlib"),
}
CLOCKS: Final = frozenset({"now", "utcnow", "today"})
DOORS: Final = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__"})
VAGUE: Final = ("manager", "handler", "helper", "util")


# -- reading a tree ----------------------------------------------------------------------------


def modules(root: Path) -> dict[str, Path]:
    """The modules of `bridge`, by name: `bridge.core.hub`; a package by its own."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / "bridge").rglob("*.py"))
    }


def sources(root: Path) -> Iterator[Path]:
    """Every file that somebody here has written: Python and JavaScript, the tests too."""
    for folder in ("bridge", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".js"} and "node_modules" not in path.parts:
                yield path


def trees(root: Path, within: str = "bridge") -> Iterator[tuple[str, ast.Module]]:
    """The modules at and below `within`, parsed."""
    for name, path in modules(root).items():
        if f"{name}.".startswith(f"{within}."):
            yield name, ast.parse(path.read_text())


def imports(root: Path, within: str = "bridge") -> Iterator[tuple[str, str]]:
    """Who imports whom, wherever it is written: in a function or for a type only, too."""
    known = modules(root)
    for name, tree in trees(root, within):
        package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: 1 - node.level or None] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    # A folder without an `__init__.py` is none of the modules, but importable.
                    folder = origin == "bridge" and floor(whole) is not None
                    yield name, whole if whole in known or folder else origin


def ours(root: Path) -> Iterator[tuple[str, str]]:
    """The imports of `bridge` by `bridge`, less each package's own root, which is empty."""
    for name, target in imports(root):
        if target.startswith("bridge.") and target != "bridge.core":
            yield name, target


def part(name: str) -> str:
    """The folder, or the single module, right below `bridge` in which `name` is."""
    return name.split(".")[1] if "." in name else ""


def floor(name: str) -> int | None:
    """On which floor `name` is; None where nobody has said."""
    if name in {"bridge", "bridge.core"}:
        return 0
    levels = count(1)
    for names, level in zip(CORE, levels, strict=False):
        if name in {f"bridge.core.{each}" for each in names}:
            return level
    for names, level in zip(ABOVE, levels, strict=False):
        if part(name) in names:
            return level
    return None


# -- the rules ---------------------------------------------------------------------------------


def every_module_has_a_floor(root: Path) -> list[str]:
    return [
        f"{name}: give it a floor in {__name__}" for name in modules(root) if floor(name) is None
    ]


def imports_go_down(root: Path) -> list[str]:
    broken = []
    for name, target in ours(root):
        here, there = floor(name), floor(target)
        beside = here == there and part(target) in FOLDERS
        if here is not None and (there is None or there >= here) and not beside:
            broken.append(f"{name} imports {target}, which is not below it")
    return broken


def nothing_imports_in_a_circle(root: Path) -> list[str]:
    graph: dict[str, set[str]] = {}
    for name, target in ours(root):
        graph.setdefault(name, set()).add(target)
    broken, done = [], set[str]()

    def follow(path: list[str]) -> None:
        for target in sorted(graph.get(path[-1], ())):
            if target in path:
                broken.append(" imports ".join([*path[path.index(target) :], target]))
            elif target not in done:
                follow([*path, target])
        done.add(path[-1])

    for name in sorted(graph):
        if name not in done:
            follow([name])
    return broken


def the_banks_never_meet(root: Path) -> list[str]:
    return [
        f"{name} imports {target}; what they share is in the core"
        for name, target in ours(root)
        if part(name) in BANKS and part(target) in SIDES - {part(name)}
    ]


def some_stand_alone(root: Path) -> list[str]:
    return [
        f"{name} imports {target}; {alone} {why}"
        for alone, why in ALONE.items()
        for name, target in imports(root, f"bridge.{alone}")
        if f"{target}.".startswith("bridge.") and part(target) != alone
    ]


def settings_are_read_at_the_top(root: Path) -> list[str]:
    return [
        f"{name} imports {target}; give it plain values"
        for name, target in ours(root)
        if part(target) == "settings" and part(name) not in READS_SETTINGS
    ]


def the_core_uses_values_only(root: Path) -> list[str]:
    return [
        f"{name} imports {target}, which is not among PURE"
        for name, target in imports(root, "bridge.core")
        if target.partition(".")[0] not in {"bridge", *PURE} and target not in PURE
    ]


def the_core_never_waits(root: Path) -> list[str]:
    waits = ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await
    return [
        f"{name} waits: {ast.unparse(node)[:80]}"
        for name, tree in trees(root, "bridge.core")
        for node in ast.walk(tree)
        if isinstance(node, waits) or (isinstance(node, ast.comprehension) and node.is_async)
    ]


def the_core_asks_no_clock(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} asks for .{node.attr}; let it be an argument"
        for name, tree in trees(root, "bridge.core")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
    ]


def the_core_opens_no_door(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} uses {node.id}"
        for name, tree in trees(root, "bridge.core")
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in DOORS
    ]


def every_module_has_a_docstring(root: Path) -> list[str]:
    return [
        f"{name} does not say what it is"
        for name, tree in trees(root)
        if not ast.get_docstring(tree)
    ]


def no_file_is_long(root: Path) -> list[str]:
    lengths = ((path, len(path.read_text().splitlines())) for path in sources(root))
    return [f"{path} has {length} lines" for path, length in lengths if length > MAX_LINES]


def no_name_is_vague(root: Path) -> list[str]:
    return [
        f"{path}: say what it does, not that it is a {word}"
        for path in sources(root)
        for word in VAGUE
        if word in str(path.relative_to(root)).lower()
    ]


RULES: Final[list[Callable[[Path], list[str]]]] = [
    every_module_has_a_floor,
    imports_go_down,
    nothing_imports_in_a_circle,
    the_banks_never_meet,
    some_stand_alone,
    settings_are_read_at_the_top,
    the_core_uses_values_only,
    the_core_never_waits,
    the_core_asks_no_clock,
    the_core_opens_no_door,
    every_module_has_a_docstring,
    no_file_is_long,
    no_name_is_vague,
]
