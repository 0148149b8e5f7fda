"""The rules of the architecture, read from the source itself.

A rule is a function from a project's root to the sentences that say where it is broken. So the
same function judges this project and the tiny made-up ones that show that it can fail.
"""

from __future__ import annotations

import ast
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINES: Final = 800
LONG_LINES: Final = 500  # from here on `python -m tests` warns

# Lowest first. A package imports its own modules, never in a cycle, and packages of lower layers.
LAYERS: Final = (
    {"core.protocol"},
    {"core.journal", "core.routes"},
    {"core.sessions"},
    {"core.replay", "core.coordination", "core.topic_changes"},
    {"core.ports"},
    {"kafka", "web", "client", "bench"},
    {"coordination", "config"},
    {"app"},
    {"cli"},
    {"__main__"},
)
ALONE: Final = {"client": "is installed without the bridge", "bench": "measures from outside"}
READS_SETTINGS: Final = frozenset({"config", "app", "cli"})
# What the core may use of others: values and conversions; nothing that waits, asks or writes.
PURE: Final = {
    *("__future__", "array", "base64", "binascii", "bisect", "collections", "contextlib"),
    *("dataclasses", "datetime", "decimal", "enum", "functools", "hashlib", "heapq", "itertools"),
    *(
        "jmespath",
        "json",
        "math",
        "msgspec",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
    ),
    *("urllib.parse", "zlib"),
}
CLOCKS: Final = frozenset({"now", "utcnow", "today"})
DOORS: Final = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__"})
VAGUE: Final = ("manager", "handler", "helper", "util")
MAX_FUNCTION_LINES: Final = 60
MAX_ENTRIES: Final = 9
# Lists of things of one kind, and what is installed by itself.
LONG_FOLDERS: Final = frozenset({"client", "cli", "bench/scenarios", "web/console"})
UNCOUNTED: Final = frozenset({"__init__.py", "__main__.py"})
# Former names of the leader, the presence publisher and others. `dead letter` is the field's word.
METAPHORS: Final = {
    *("burial", "casualty", "court", "desk", "herald", "letter", "office", "parcel", "scribe"),
    *("shelf", "span", "staff", "steward", "strand", "tape", "turnstile"),
}
WORD: Final = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


# -- reading a tree ----------------------------------------------------------------------------


def files(root: Path, folder: str) -> list[str]:
    """Return the paths of all files below `folder`, from `root`, five times as fast as `rglob`."""
    found = []
    for parent, _, names in os.walk(root / folder):
        inner = Path(parent).relative_to(root).as_posix()
        found += [f"{inner}/{name}" for name in names]
    return sorted(found)


def modules(root: Path) -> dict[str, Path]:
    """The modules of `bridge`, by name: `bridge.core.hub`; a package by its own."""
    return {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): root / path
        for path in files(root, "bridge")
        if path.endswith(".py")
    }


def sources(root: Path) -> Iterator[Path]:
    """Every file that somebody here has written: Python and JavaScript, the tests too."""
    for folder in ("bridge", "tests"):
        for path in files(root, folder):
            if path.endswith((".py", ".js")) and "/node_modules/" not in path:
                yield root / path


@lru_cache(maxsize=1024)
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


@lru_cache(maxsize=1024)
def walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    """`ast.walk`, once for all rules that read the same module."""
    return tuple(ast.walk(tree))


def trees(root: Path, within: str = "bridge") -> Iterator[tuple[str, ast.Module]]:
    """The modules at and below `within`, parsed."""
    for name, path in modules(root).items():
        if f"{name}.".startswith(f"{within}."):
            yield name, _parse(path.read_text())


def imports(root: Path, within: str = "bridge") -> Iterator[tuple[str, str]]:
    """Who imports whom, wherever it is written: in a function or for a type only, too."""
    known = modules(root)
    for name, tree in trees(root, within):
        package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
        for node in walk(tree):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: 1 - node.level or None] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    # A folder without an `__init__.py` is none of the modules, but importable.
                    folder = origin == "bridge" and layer(whole) is not None
                    yield name, whole if whole in known or folder else origin


def part(name: str) -> str:
    """The package of `LAYERS` that `name` belongs to, else what is right below `bridge`."""
    inner = name.removeprefix("bridge").removeprefix(".")
    for names in LAYERS:
        for each in names:
            if f"{inner}.".startswith(f"{each}."):
                return each
    return inner.partition(".")[0]


def layer(name: str) -> int | None:
    """The layer of `name`, 0 for packages that are empty themselves; None where none is stated."""
    if name in {"bridge", "bridge.core"}:
        return 0
    for level, names in enumerate(LAYERS, 1):
        if part(name) in names:
            return level
    return None


def ours(root: Path) -> Iterator[tuple[str, str]]:
    """The imports of `bridge` by `bridge`, without the roots, which are empty."""
    for name, target in imports(root):
        if target.startswith("bridge.") and target != "bridge.core":
            yield name, target


# -- the rules ---------------------------------------------------------------------------------


def every_module_has_a_layer(root: Path) -> list[str]:
    return [
        f"{name}: give it a layer in {__name__}" for name in modules(root) if layer(name) is None
    ]


def imports_go_down(root: Path) -> list[str]:
    broken = []
    for name, target in ours(root):
        here, there = layer(name), layer(target)
        if here is not None and (there is None or there > here):
            broken.append(f"{name} imports {target}, which is not below it")
    return broken


def packages_of_one_layer_never_meet(root: Path) -> list[str]:
    return [
        f"{name} imports {target}; what they share is in a lower layer"
        for name, target in ours(root)
        if layer(name) == layer(target) is not None and part(name) != part(target)
    ]


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
        if target == "bridge.config.settings" and part(name) not in READS_SETTINGS
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
        for node in walk(tree)
        if isinstance(node, waits) or (isinstance(node, ast.comprehension) and node.is_async)
    ]


def the_core_asks_no_clock(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} asks for .{node.attr}; let it be an argument"
        for name, tree in trees(root, "bridge.core")
        for node in walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
    ]


def the_core_opens_no_door(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} uses {node.id}"
        for name, tree in trees(root, "bridge.core")
        for node in walk(tree)
        if isinstance(node, ast.Name) and node.id in DOORS
    ]


def every_module_has_a_docstring(root: Path) -> list[str]:
    return [
        f"{name} does not say what it is"
        for name, tree in trees(root)
        if not ast.get_docstring(tree)
    ]


def lengths(root: Path) -> Iterator[tuple[Path, int]]:
    """Every file of `sources` with its number of lines."""
    for path in sources(root):
        yield path, len(path.read_text().splitlines())


def long_files(root: Path) -> list[str]:
    """Return a warning for each file that is still allowed but long."""
    return [
        f"{path.relative_to(root)} has {length} lines; split it before it has {MAX_LINES}"
        for path, length in lengths(root)
        if LONG_LINES < length <= MAX_LINES
    ]


def no_file_is_too_long(root: Path) -> list[str]:
    return [f"{path} has {length} lines" for path, length in lengths(root) if length > MAX_LINES]


def no_name_is_vague(root: Path) -> list[str]:
    return [
        f"{path}: say what it does, not that it is a {word}"
        for path in sources(root)
        for word in VAGUE
        if word in str(path.relative_to(root)).lower()
    ]


def definitions(root: Path) -> Iterator[tuple[str, ast.stmt, str]]:
    """Yield every class and function of `bridge`: its module, its node and its name."""
    for module, tree in trees(root):
        for node in walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node, node.name


def no_function_is_too_long(root: Path) -> list[str]:
    return [
        f"{module}.{name} has {length} lines, more than {MAX_FUNCTION_LINES}"
        for module, node, name in definitions(root)
        if not isinstance(node, ast.ClassDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def no_folder_is_crowded(root: Path) -> list[str]:
    entries: dict[str, set[str]] = {}
    for path in files(root, "bridge"):
        steps = path.split("/")[1:]
        if not {"__pycache__", "node_modules"} & set(steps):
            for depth, entry in enumerate(steps):
                entries.setdefault("/".join(steps[:depth]), set()).add(entry)
    return [
        f"bridge/{folder} has {length} entries, more than {MAX_ENTRIES}"
        for folder, names in entries.items()
        if (length := len(names - UNCOUNTED)) > MAX_ENTRIES and folder not in LONG_FOLDERS
    ]


def class_names_are_unique_in_a_package(root: Path) -> list[str]:
    modules_by_name: dict[tuple[str, str], list[str]] = {}
    for module, node, name in definitions(root):
        if isinstance(node, ast.ClassDef):
            package = ".".join(module.split(".")[:2])
            modules_by_name.setdefault((package, name), []).append(module)
    return [
        f"{package} has more than one class {name}: in {', '.join(found)}"
        for (package, name), found in modules_by_name.items()
        if len(found) > 1
    ]


def no_name_is_a_metaphor(root: Path) -> list[str]:
    names = [(module, module) for module in modules(root)]
    names += [(module, name) for module, _, name in definitions(root)]
    return [
        f"{module}: {name} is a metaphor ({word}); use the field's word"
        for module, name in names
        for word in metaphors(name)
    ]


def metaphors(name: str) -> list[str]:
    """Return the banned words of a name, singular or plural; `dead letter` is one word."""
    words = [word.lower() for word in WORD.findall(name)]
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if {word, word.removesuffix("s"), word.removesuffix("ies") + "y"} & METAPHORS
        and not (before == "dead" and word.startswith("letter"))
    ]


RULES: Final[list[Callable[[Path], list[str]]]] = [
    every_module_has_a_layer,
    imports_go_down,
    nothing_imports_in_a_circle,
    packages_of_one_layer_never_meet,
    some_stand_alone,
    settings_are_read_at_the_top,
    the_core_uses_values_only,
    the_core_never_waits,
    the_core_asks_no_clock,
    the_core_opens_no_door,
    every_module_has_a_docstring,
    no_file_is_too_long,
    no_function_is_too_long,
    no_folder_is_crowded,
    class_names_are_unique_in_a_package,
    no_name_is_vague,
    no_name_is_a_metaphor,
]
