"""Lookups of connections, rooms and instances, for the API.

Rule: connections of this instance come from the hub, all others from the state topic, so none is
listed twice. Results are lazy and may be consumed in parts while connections change.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import state_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.coordination.presence import PresenceIndex
    from bridge.core.coordination.room_memberships import Memberships
    from bridge.core.coordination.state_records import ConnectionPresence, InstanceHeartbeat
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


class ConnectionFilter(NamedTuple):
    """Conditions on a connection. All that are set must hold."""

    account: str | None = None
    room: str | None = None
    topic: str | None = None
    instance: str | None = None


class PresenceDirectory:
    """Finds connections, rooms and instances of the whole bridge."""

    def __init__(self, hub: Hub, presence_index: PresenceIndex, memberships: Memberships) -> None:
        self._hub = hub
        self._presence_index = presence_index
        self.memberships = memberships

    def local_session(self, connection_id: str) -> Session | None:
        """Return the session of a connection, None if it is not connected to this instance."""
        return self._hub.registry.by_id.get(connection_id)

    def find_connection(self, connection_id: str) -> ConnectionPresence | None:
        """Return a connection, None if it is not connected to any instance."""
        session = self.local_session(connection_id)
        if session is not None:
            return state_records.describe_connection(session, self._hub.instance, "")
        connection = self._presence_index.connections.get(connection_id)
        return None if connection is None or self._is_local(connection) else connection

    def connection_ids(self, connection_filter: ConnectionFilter) -> Iterator[str]:
        """Yield the ids of the matching connections, in no order."""
        yield from (connection.id for connection in self._local_sessions(connection_filter))
        yield from (connection.id for connection in self._remote_connections(connection_filter))

    def known_rooms(self) -> Iterator[str]:
        """Yield rooms that have a connection, a member or a title. Some are yielded twice."""
        local_rooms = (
            *self.memberships.accounts_by_room,
            *self.memberships.titles_by_room,
            *self._hub.subscriptions.by_room,
        )
        replaying_rooms = [room for session in self._hub.replaying for room in session.rooms]
        published, local_counts = (
            [*self._presence_index.by_room_or_topic.items()],
            self._published_local_counts(),
        )
        yield from local_rooms
        yield from replaying_rooms
        for (kind, room), connections in published:
            if kind == "room" and len(connections) > local_counts[room]:
                yield room

    def connection_counts(self, rooms: Iterable[str]) -> dict[str, int]:
        """Return the number of connections in each of these rooms."""
        hub, local_counts = self._hub, self._published_local_counts()
        replaying_counts = Counter(room for session in hub.replaying for room in session.rooms)
        return {
            room: len(self._presence_index.by_room_or_topic.get(("room", room), ()))
            - local_counts[room]
            + len(hub.subscriptions.by_room.get(room, ()))
            + replaying_counts[room]
            for room in rooms
        }

    def _published_local_counts(self) -> Counter[str]:
        """Count connections of this instance by room, as the state topic has them."""
        published = self._presence_index.by_instance.get(self._hub.instance, {}).values()
        return Counter(room for connection in published for room in set(connection.rooms))

    def instances(self) -> dict[str, tuple[InstanceHeartbeat, int]]:
        """Return the running instances by name, with the number of their connections."""
        return {
            name: (heartbeat, self._connection_count(name))
            for name, heartbeat in self._presence_index.instances.items()
        }

    def _connection_count(self, instance: str) -> int:
        if instance == self._hub.instance:
            return len(self._hub.registry)
        return len(self._presence_index.by_instance.get(instance, ()))

    def _is_local(self, connection: ConnectionPresence) -> bool:
        return connection.instance == self._hub.instance

    def _local_sessions(self, connection_filter: ConnectionFilter) -> Iterator[Session]:
        hub = self._hub
        if connection_filter.instance not in {None, hub.instance}:
            return
        sessions: Iterable[Session] = hub.registry.by_id.values()
        if connection_filter.account is not None:
            sessions = hub.sessions_of_account(connection_filter.account)
        elif connection_filter.room is not None:
            sessions = (*hub.subscriptions.by_room.get(connection_filter.room, ()), *hub.replaying)
        for session in tuple(sessions):
            if (
                connection_filter.account in {None, session.permissions.account}
                and (connection_filter.room is None or connection_filter.room in session.rooms)
                and (connection_filter.topic is None or connection_filter.topic in session.topics)
            ):
                yield session

    def _remote_connections(
        self, connection_filter: ConnectionFilter
    ) -> Iterator[ConnectionPresence]:
        index, candidates = self._presence_index, [self._presence_index.connections]
        if connection_filter.account is not None:
            candidates.append(index.by_account.get(connection_filter.account, {}))
        if connection_filter.room is not None:
            candidates.append(index.by_room_or_topic.get(("room", connection_filter.room), {}))
        if connection_filter.topic is not None:
            candidates.append(index.by_room_or_topic.get(("topic", connection_filter.topic), {}))
        if connection_filter.instance is not None:
            candidates.append(index.by_instance.get(connection_filter.instance, {}))
        for connection in tuple(min(candidates, key=len).values()):
            if (
                not self._is_local(connection)
                and connection_filter.account in {None, connection.account}
                and (connection_filter.room is None or connection_filter.room in connection.rooms)
                and (
                    connection_filter.topic is None or connection_filter.topic in connection.topics
                )
                and connection_filter.instance in {None, connection.instance}
            ):
                yield connection
