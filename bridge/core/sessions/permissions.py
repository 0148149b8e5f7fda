"""What a client may read: the topics and rooms that its token covers.

Rule: permissions are checked each time a topic or room is named. The hub rejects a topic that
does not exist as forbidden, so that clients cannot probe for names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class NamePatterns:
    """Names and patterns of names. `*` matches one part between `:`s, a final `**` one or more."""

    __slots__ = ("_exact_names", "_regex")

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._exact_names = frozenset(names)
        patterns = [_to_regex(name) for name in names if "*" in name]
        self._regex = re.compile("|".join(patterns)) if patterns else None

    def union(self, names: Iterable[str]) -> NamePatterns:
        """Return these and `names`."""
        return NamePatterns({*self._exact_names, *names})

    def contains(self, name: str) -> bool:
        """True if `name` itself is listed, which a private topic requires."""
        return name in self._exact_names

    def matches(self, name: str) -> bool:
        """True if `name` is listed, or a pattern matches it."""
        return name in self._exact_names or (
            self._regex is not None and self._regex.fullmatch(name) is not None
        )


def _to_regex(pattern: str) -> str:
    *parts, last = pattern.split(":")
    escaped = ["[^:]+" if part == "*" else re.escape(part) for part in parts]
    suffix = {"*": "[^:]+", "**": "[^:]+(?::[^:]+)*"}.get(last, re.escape(last))
    return ":".join([*escaped, suffix])


_NO_NAMES: Final = NamePatterns(())


class Permissions(NamedTuple):
    """An account and what its token allows. `topics` or `rooms` of None is not restricted.

    `account` is None only if authentication is off. `expires_at` and `issued_at` are seconds since
    1970. `may_read_all_private` allows private topics that `topics` does not name: authentication
    is off. `added_topics` and `added_rooms` are what the backend granted beside the token, whose
    `claims` are kept to ask it.
    """

    account: str | None
    topics: NamePatterns | None = None
    rooms: NamePatterns | None = None
    expires_at: float | None = None
    issued_at: float | None = None
    may_read_all_private: bool = False
    added_topics: NamePatterns = _NO_NAMES
    added_rooms: NamePatterns = _NO_NAMES
    claims: Mapping[str, Any] | None = None

    def may_read(self, topic: str, *, is_private: bool) -> bool:
        """True if the token covers `topic`. Patterns do not cover a private topic."""
        if is_private and not self.may_read_all_private:
            is_named = self.topics is not None and self.topics.contains(topic)
            return is_named or self.added_topics.contains(topic)
        return self.topics is None or self.topics.matches(topic) or self.added_topics.matches(topic)

    def may_join(self, room: str) -> bool:
        """True if the client may join `room` itself; the backend may add it to any room."""
        return self.rooms is None or self.rooms.matches(room) or self.added_rooms.matches(room)


def unrestricted(account: str | None) -> Permissions:
    """Return the permissions of every client if authentication is off."""
    return Permissions(account, may_read_all_private=True)
