"""A schema with one thing taken out of it, for every thing that can be taken out.

The rule kept here: whatever is not an annotation is taken out once: a keyword, a property, one of
several required fields, one of several choices.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.frame_schemas import Schema

    Path = tuple[str | int, ...]

#: These say something to people and to code generators, and nothing to a validator.
ANNOTATIONS: Final = frozenset(
    {"$schema", "title", "description", "format", "contentEncoding", "default"}
)
#: Keywords whose value maps names to schemas; the names are no keywords.
MAP_KEYWORDS: Final = frozenset({"properties", "$defs"})
#: Keywords whose value is a list of which one entry can be missing.
LIST_KEYWORDS: Final = frozenset({"required", "enum", "type", "oneOf", "anyOf"})
#: Keywords whose value is a schema.
SCHEMA_KEYWORDS: Final = frozenset({"items", "not", "if", "then", "else"})


def schema_mutants(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each mutant of `schema` with the path to what it lacks."""
    for path in _removable(schema, ()):
        yield "/".join(map(str, path)), _without(schema, path)


def _removable(schema: Any, at: Path) -> Iterator[Path]:
    for keyword in schema.keys() - ANNOTATIONS:
        path, value = (*at, keyword), schema[keyword]
        if keyword != "$defs":
            yield path
        if keyword in MAP_KEYWORDS or (keyword in LIST_KEYWORDS and isinstance(value, list)):
            for name, part in value.items() if keyword in MAP_KEYWORDS else enumerate(value):
                # Without a definition a schema would be no schema at all.
                if keyword != "$defs":
                    yield (*path, name)
                if isinstance(part, dict):
                    yield from _removable(part, (*path, name))
        elif keyword in SCHEMA_KEYWORDS:
            yield from _removable(value, path)


def _without(schema: Schema, path: Path) -> Schema:
    mutant = copy.deepcopy(schema)
    part: Any = mutant
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    return mutant
