"""A route: for whom the records of a topic are, and what they become.

Rule: plain values, parsed and checked in `config/routes.py`. Nothing is decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.core.routes.templates.template import JmespathTemplate, TextTemplate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.routes.templates.template import Placeholder, Template

#: What `data` and `meta` are made of: templates, in objects and lists, beside other JSON.
JsonTemplate: TypeAlias = Any
AUDIENCE_FIELDS = ("accounts", "rooms", "connections")
TEXT_FIELDS = ("type", "id", "time", "tag")


@dataclass(frozen=True, slots=True)
class Condition:
    """`placeholder` finds one of `wanted`, each in the form of `comparable`."""

    placeholder: Placeholder
    wanted: frozenset[Any]


@dataclass(frozen=True, slots=True)
class Route:
    """All fields of a route; an absent one has its default. `all` may be a template."""

    accounts: tuple[Template, ...] = ()
    rooms: tuple[Template, ...] = ()
    connections: tuple[Template, ...] = ()
    all: bool | Template = False
    when: tuple[Condition, ...] = ()
    type: Template | None = None
    id: Template | None = None
    time: Template | None = None
    tag: Template | None = None
    #: `None` is absent: the default of `meta` is nothing, that of `data` the whole value.
    meta: JsonTemplate | None = field(default=None)
    data: JsonTemplate | None = field(default=None)
    #: The name of a ready route that this one is based on.
    use: str = ""
    #: Whether the audience is in the extension attributes of CloudEvents.
    reads_extensions: bool = False
    #: Whether `type` gives the operation of a change event, to be translated.
    translates_type: bool = False

    def scalar_placeholders(self) -> Iterator[Placeholder]:
        """Yield the places whose text counts, those of `when` too."""
        fields = (self.all, self.type, self.id, self.time, self.tag)
        for template in (*self.accounts, *self.rooms, *self.connections, *fields):
            if isinstance(template, TextTemplate):
                yield from template.placeholders
        for condition in self.when:
            yield condition.placeholder

    def json_placeholders(self) -> Iterator[Placeholder]:
        """Yield the places whose JSON counts."""
        fields = (self.all, self.type, self.id, self.time, self.tag)
        for template in (*self.accounts, *self.rooms, *self.connections, *fields):
            if isinstance(template, JmespathTemplate):
                yield from template.placeholders
        for node in (self.meta, self.data):
            for template in templates_in(node):
                yield from template.placeholders


def templates_in(node: JsonTemplate) -> Iterator[Template]:
    """Yield the templates in the object, list or template `node`."""
    if isinstance(node, TextTemplate | JmespathTemplate):
        yield node
    elif isinstance(node, dict):
        for child in node.values():
            yield from templates_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from templates_in(child)
