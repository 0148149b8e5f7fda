"""The types of event that a client asked for.

Rule: a `*` stands only at the end and makes a plain prefix: `order.*` admits `order.shipped`
and not `orders`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Types:
    """A filter on event types. Immutable, so sessions that ask for the same may share one."""

    __slots__ = ("_exact", "_prefixes", "wanted")

    def __init__(self, wanted: Iterable[str]) -> None:
        """Make a filter.

        Raises:
            ValueError: If one of `wanted` is empty, or has a `*` elsewhere than at its end.
        """
        self.wanted = tuple(dict.fromkeys(wanted))
        for name in self.wanted:
            if not name or "*" in name[:-1]:
                raise ValueError(
                    f"not an event type, or a prefix of one with * at its end: {name!r}"
                )
        self._exact = frozenset(name for name in self.wanted if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in self.wanted if name.endswith("*"))

    def admits(self, type: str) -> bool:
        """Whether an event of `type` is wanted."""
        return type in self._exact or type.startswith(self._prefixes)
