"""What an identity may read: its account, and the topics and rooms that it may use.

Rule: a grant is asked each time a topic or room is named, and a topic that does not exist is
refused like one that is forbidden, so that nobody can probe for names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Pattern:
    """Names, some with `*` for one part between `:`s, or a final `**` for one or more."""

    __slots__ = ("_exact", "_regex")

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._exact = frozenset(names)
        starred = [_regex(name) for name in names if "*" in name]
        self._regex = re.compile("|".join(starred)) if starred else None

    def names(self, name: str) -> bool:
        """Whether `name` stands here letter by letter: what a private topic asks for."""
        return name in self._exact

    def covers(self, name: str) -> bool:
        """Whether `name` stands here or fits one of the patterns."""
        return name in self._exact or (
            self._regex is not None and self._regex.fullmatch(name) is not None
        )


def _regex(pattern: str) -> str:
    *parts, last = pattern.split(":")
    written = ["[^:]+" if part == "*" else re.escape(part) for part in parts]
    tail = {"*": "[^:]+", "**": "[^:]+(?::[^:]+)*"}.get(last, re.escape(last))
    return ":".join([*written, tail])


class Grant(NamedTuple):
    """One identity. `topics` or `rooms` of None sets no bounds of its own.

    `account` is None only where authentication is switched off. `expires` and `issued` are
    seconds since 1970. `names_private` lets a private topic be read without being named by the
    grant, as it is where authentication is switched off.
    """

    account: str | None
    topics: Pattern | None = None
    rooms: Pattern | None = None
    expires: float | None = None
    issued: float | None = None
    names_private: bool = False

    def may_read(self, topic: str, *, private: bool) -> bool:
        """Whether the holder may read `topic`."""
        if private and not self.names_private:
            return self.topics is not None and self.topics.names(topic)
        return self.topics is None or self.topics.covers(topic)

    def may_join(self, room: str) -> bool:
        """Whether the holder may enter `room` by itself."""
        return self.rooms is None or self.rooms.covers(room)


def everything(account: str | None) -> Grant:
    """Return the grant of everybody where authentication is switched off."""
    return Grant(account, names_private=True)
