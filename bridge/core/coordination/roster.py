"""Who is connected to any of the instances, and which instances there are.

Rule: it is what the state topic says, read in order; nobody is counted twice, and an address is a
key exactly while somebody is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.state_records import Alive, Gone, Present

#: What can be occupied: "room" or "topic", and its name.
Place: TypeAlias = tuple[str, str]


class Roster:
    """Connections by id, account, and room or topic; instances by name."""

    def __init__(self) -> None:
        self.instances: dict[str, Alive] = {}
        self.connections: dict[str, Present] = {}
        self.by_account: dict[str, dict[str, Present]] = {}
        self.by_place: dict[Place, dict[str, Present]] = {}
        self.by_instance: dict[str, dict[str, Present]] = {}

    def hear(self, alive: Alive) -> None:
        """Take note that an instance runs."""
        self.instances[alive.instance] = alive

    def come(self, present: Present) -> list[Place]:
        """Take note of a connection, or of what it follows by now; return the places it changed."""
        before = self._forget(present.id)
        self.connections[present.id] = present
        for index, name in _entries(present):
            getattr(self, index).setdefault(name, {})[present.id] = present
        after = places(present)
        return [*(p for p in before if p not in after), *(p for p in after if p not in before)]

    def go(self, gone: Gone) -> list[Place]:
        """Take note that a connection or an instance is no more; return the places it left."""
        (name,) = gone.names
        if gone.kind == "instance":
            self.instances.pop(name, None)
            return []
        return list(self._forget(name))

    def _forget(self, id: str) -> dict[Place, None]:
        present = self.connections.pop(id, None)
        if present is None:
            return {}
        for index, name in _entries(present):
            held = getattr(self, index)[name]
            held.pop(id, None)
            if not held:
                del getattr(self, index)[name]
        return places(present)


def places(present: Present) -> dict[Place, None]:
    """Return the rooms and topics that a connection is in, each once."""
    return dict.fromkeys(
        [*(("room", room) for room in present.rooms), *(("topic", t) for t in present.topics)]
    )


def _entries(present: Present) -> Iterable[tuple[str, object]]:
    yield "by_instance", present.instance
    if present.account is not None:
        yield "by_account", present.account
    for place in places(present):
        yield "by_place", place
