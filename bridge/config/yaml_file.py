"""Reads the YAML file of settings.

Rule: what YAML would drop or change in silence is refused with its line: a key twice, a key that is
not text, `1:30` as 90, `010` as 8. No message quotes a value, which may be a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

import yaml

from bridge.config.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_NUMBER_TAGS: Final = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
#: YAML 1.1 reads these in base 60, 8, 16 or 2, or drops the underscores.
_match_unusual_number: Final = re.compile(r"[-+]?(?:.*[:_].*|0[0-9xb].*)").fullmatch


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings of the file.

    Raises:
        SettingError: If the file cannot be read, or YAML would not keep what is written.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return {}
        _check_nodes(path, root)
        content = loader.construct_document(root)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path}: invalid YAML; the file must be UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        is_tab = "'\\t'" in str(getattr(error, "problem", ""))
        remedy = "; indent with spaces, not tabs" if is_tab else ""
        raise SettingError(f"{path}: invalid YAML{location}{remedy}") from None
    except (ValueError, RecursionError, OverflowError):  # a date of day 99; 10,000 brackets
        raise SettingError(f"{path}: invalid YAML; a value cannot be read") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingError(f"{path}: must be a mapping of setting names to values")
    return content


def find_line(path: Path, keys: Sequence[str]) -> int | None:
    """Return the line of the setting that `keys` lead to, or of what it should be in."""
    try:
        node = yaml.SafeLoader(path.read_text(encoding="utf-8-sig")).get_single_node()
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    line = None
    for key in keys:
        mark, node = _child(node, key)
        if mark is None:
            break
        line = mark.line + 1
    return line


def _child(node: yaml.Node | None, key: str) -> tuple[yaml.Mark | None, yaml.Node | None]:
    """Return where `key` is in `node`, and its value."""
    if isinstance(node, yaml.SequenceNode) and key.isdecimal() and int(key) < len(node.value):
        item = node.value[int(key)]
        return item.start_mark, item
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return name.start_mark, value
    return None, None


def _check_nodes(path: Path, root: yaml.Node) -> None:
    """Refuse what the construction of values would hide; each node once, however often aliased."""
    seen: set[int] = set()
    nodes: list[tuple[str, yaml.Node]] = [("", root)]
    while nodes:
        name, node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(path, name, node)
            nodes += [(_join(name, key.value), value) for key, value in reversed(node.value)]
        elif isinstance(node, yaml.SequenceNode):
            items = [(_join(name, str(index)), item) for index, item in enumerate(node.value)]
            nodes += reversed(items)
        elif node.tag in _NUMBER_TAGS and _match_unusual_number(node.value):
            problem = "YAML reads this number in another base; write decimal digits only"
            _refuse(path, name, node, problem)


def _check_keys(path: Path, name: str, mapping: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if key.tag == _MERGE_TAG:
            continue
        key_name = _join(name, key.value)
        if key.tag != _TEXT_TAG:
            _refuse(path, key_name, key, "a setting's name must be text; put it in quotes")
        if key.value in lines:
            problem = f"is set twice, first in line {lines[key.value]}; remove one"
            _refuse(path, key_name, key, problem)
        lines[key.value] = key.start_mark.line + 1


def _join(name: str, part: object) -> str:
    text = part if isinstance(part, str) else "?"  # a key that is a list or a mapping
    return f"{name}.{text}" if name else text


def _refuse(path: Path, name: str, node: yaml.Node, problem: str) -> NoReturn:
    line = node.start_mark.line + 1
    printable = name if name.isprintable() else ascii(name)
    raise SettingError(f"{path}: {printable}: line {line}: {problem}")
