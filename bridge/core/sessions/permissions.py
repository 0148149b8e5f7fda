"""What an identity may read: its account, and the topics and rooms that it may use.

Rule: a grant is asked each time a topic or room is named, and a topic that does not exist is
refused like one that is forbidden, so that nobody can probe for names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class NamePatterns:
    """Names, some with `*` for one part between `:`s, or a final `**` for one or more."""

    __slots__ = ("_exact_names", "_regex")

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._exact_names = frozenset(names)
        patterns = [_to_regex(name) for name in names if "*" in name]
        self._regex = re.compile("|".join(patterns)) if patterns else None

    def contains(self, name: str) -> bool:
        """Whether `name` stands here letter by letter: what a private topic asks for."""
        return name in self._exact_names

    def matches(self, name: str) -> bool:
        """Whether `name` stands here or fits one of the patterns."""
        return name in self._exact_names or (
            self._regex is not None and self._regex.fullmatch(name) is not None
        )


def _to_regex(pattern: str) -> str:
    *parts, last = pattern.split(":")
    escaped = ["[^:]+" if part == "*" else re.escape(part) for part in parts]
    suffix = {"*": "[^:]+", "**": "[^:]+(?::[^:]+)*"}.get(last, re.escape(last))
    return ":".join([*escaped, suffix])


class Permissions(NamedTuple):
    """One identity. `topics` or `rooms` of None sets no bounds of its own.

    `account` is None only where authentication is switched off. `expires` and `issued` are
    seconds since 1970. `names_private` lets a private topic be read without being named by the
    grant, as it is where authentication is switched off.
    """

    account: str | None
    topics: NamePatterns | None = None
    rooms: NamePatterns | None = None
    expires_at: float | None = None
    issued_at: float | None = None
    may_read_all_private: bool = False

    def may_read(self, topic: str, *, is_private: bool) -> bool:
        """Whether the holder may read `topic`."""
        if is_private and not self.may_read_all_private:
            return self.topics is not None and self.topics.contains(topic)
        return self.topics is None or self.topics.matches(topic)

    def may_join(self, room: str) -> bool:
        """Whether the holder may enter `room` by itself."""
        return self.rooms is None or self.rooms.matches(room)


def unrestricted(account: str | None) -> Permissions:
    """Return the grant of everybody where authentication is switched off."""
    return Permissions(account, may_read_all_private=True)
