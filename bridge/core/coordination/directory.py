"""Who is where, for whoever asks: the clients of this instance and those of all others.

Rules: of its own clients an instance says what is so now, of others' what the state topic has said;
so nobody is listed twice, and one who has left here is not listed until that was told. What is
asked for is made as it is taken, and may be taken a part at a time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import state_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.coordination.membership import Members
    from bridge.core.coordination.presence import Roster
    from bridge.core.coordination.state_records import Alive, Present
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


class Wanted(NamedTuple):
    """Which connections are asked for: those to which all that is said here applies."""

    account: str | None = None
    room: str | None = None
    topic: str | None = None
    instance: str | None = None


class Directory:
    """Finds connections, rooms and instances, wherever they are."""

    def __init__(self, hub: Hub, roster: Roster, members: Members) -> None:
        self._hub = hub
        self._roster = roster
        self.members = members

    def session(self, id: str) -> Session | None:
        """Return the session of a connection to this instance."""
        return self._hub.crowd.sessions.get(id)

    def find(self, id: str) -> Present | None:
        """Return what is known of a connection, None where it is not connected anywhere."""
        session = self.session(id)
        if session is not None:
            return state_records.present(session, self._hub.instance, "")
        present = self._roster.connections.get(id)
        return None if present is None or self._is_ours(present) else present

    def ids(self, wanted: Wanted) -> Iterator[str]:
        """Yield the connections that are asked for, in no order."""
        yield from (each.id for each in self._here(wanted))
        yield from (each.id for each in self._elsewhere(wanted))

    def rooms(self) -> Iterator[str]:
        """Yield the rooms of which anything is known: somebody in it, or a title. Some twice."""
        known = (*self.members.accounts, *self.members.titles, *self._hub.interest.rooms)
        replaying = [room for session in self._hub.replaying for room in session.rooms]
        said, ours = [*self._roster.by_place.items()], self._said_of_ours()
        yield from known
        yield from replaying
        for (kind, room), there in said:
            if kind == "room" and len(there) > ours[room]:
                yield room

    def counts(self, rooms: Iterable[str]) -> dict[str, int]:
        """Return how many connections are in each of these rooms."""
        hub, ours = self._hub, self._said_of_ours()
        replaying = Counter(room for session in hub.replaying for room in session.rooms)
        return {
            room: len(self._roster.by_place.get(("room", room), ()))
            - ours[room]
            + len(hub.interest.rooms.get(room, ()))
            + replaying[room]
            for room in rooms
        }

    def _said_of_ours(self) -> Counter[str]:
        """Return how many clients of this instance the state topic says are in each room."""
        said = self._roster.by_instance.get(self._hub.instance, {}).values()
        return Counter(room for present in said for room in set(present.rooms))

    def instances(self) -> dict[str, tuple[Alive, int]]:
        """Return the instances that run, by name, each with how many are connected to it."""
        return {
            name: (alive, self._connected_to(name))
            for name, alive in self._roster.instances.items()
        }

    def _connected_to(self, instance: str) -> int:
        if instance == self._hub.instance:
            return len(self._hub.crowd)
        return len(self._roster.by_instance.get(instance, ()))

    def _is_ours(self, present: Present) -> bool:
        return present.instance == self._hub.instance

    def _here(self, wanted: Wanted) -> Iterator[Session]:
        hub = self._hub
        if wanted.instance not in {None, hub.instance}:
            return
        some: Iterable[Session] = hub.crowd.sessions.values()
        if wanted.account is not None:
            some = hub.of_account(wanted.account)
        elif wanted.room is not None:
            some = (*hub.interest.rooms.get(wanted.room, ()), *hub.replaying)
        for each in tuple(some):
            if (
                wanted.account in {None, each.grant.account}
                and (wanted.room is None or wanted.room in each.rooms)
                and (wanted.topic is None or wanted.topic in each.topics)
            ):
                yield each

    def _elsewhere(self, wanted: Wanted) -> Iterator[Present]:
        roster, pools = self._roster, [self._roster.connections]
        if wanted.account is not None:
            pools.append(roster.by_account.get(wanted.account, {}))
        if wanted.room is not None:
            pools.append(roster.by_place.get(("room", wanted.room), {}))
        if wanted.topic is not None:
            pools.append(roster.by_place.get(("topic", wanted.topic), {}))
        if wanted.instance is not None:
            pools.append(roster.by_instance.get(wanted.instance, {}))
        for each in tuple(min(pools, key=len).values()):
            if (
                not self._is_ours(each)
                and wanted.account in {None, each.account}
                and (wanted.room is None or wanted.room in each.rooms)
                and (wanted.topic is None or wanted.topic in each.topics)
                and wanted.instance in {None, each.instance}
            ):
                yield each
