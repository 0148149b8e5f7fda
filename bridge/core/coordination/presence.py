"""Tracks connections of all instances, dead instances, and occupied rooms and topics.

Rule: every instance tracks, the leader publishes, and only the state topic says what is published.
A place is occupied at once and vacated after 3 s. An instance is dead after a time of silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bridge.core.coordination.state_records import (
    ConnectionPresence,
    InstanceHeartbeat,
    Occupancy,
    Tombstone,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.state_records import StateRecord

#: "room" or "topic", and its name.
RoomOrTopic: TypeAlias = tuple[str, str]


class PresenceIndex:
    """Connections by id, account, and room or topic; instances by name."""

    def __init__(self) -> None:
        self.instances: dict[str, InstanceHeartbeat] = {}
        self.connections: dict[str, ConnectionPresence] = {}
        self.by_account: dict[str, dict[str, ConnectionPresence]] = {}
        self.by_room_or_topic: dict[RoomOrTopic, dict[str, ConnectionPresence]] = {}
        self.by_instance: dict[str, dict[str, ConnectionPresence]] = {}

    def update_instance(self, heartbeat: InstanceHeartbeat) -> None:
        """Add or replace an instance."""
        self.instances[heartbeat.instance] = heartbeat

    def update_connection(self, connection: ConnectionPresence) -> list[RoomOrTopic]:
        """Add or replace a connection. Return the rooms and topics that it left or entered."""
        before = self._remove_connection(connection.id)
        self.connections[connection.id] = connection
        for index, name in _index_entries(connection):
            getattr(self, index).setdefault(name, {})[connection.id] = connection
        after = rooms_and_topics(connection)
        return [*(p for p in before if p not in after), *(p for p in after if p not in before)]

    def remove(self, tombstone: Tombstone) -> list[RoomOrTopic]:
        """Remove a connection or an instance. Return the rooms and topics that it left."""
        (name,) = tombstone.names
        if tombstone.kind == "instance":
            self.instances.pop(name, None)
            return []
        return list(self._remove_connection(name))

    def _remove_connection(self, connection_id: str) -> dict[RoomOrTopic, None]:
        connection = self.connections.pop(connection_id, None)
        if connection is None:
            return {}
        for index, name in _index_entries(connection):
            entries = getattr(self, index)[name]
            entries.pop(connection_id, None)
            if not entries:
                del getattr(self, index)[name]
        return rooms_and_topics(connection)


def rooms_and_topics(connection: ConnectionPresence) -> dict[RoomOrTopic, None]:
    """Return the rooms and topics of a connection, each once."""
    return dict.fromkeys(
        [*(("room", room) for room in connection.rooms), *(("topic", t) for t in connection.topics)]
    )


def _index_entries(connection: ConnectionPresence) -> Iterable[tuple[str, object]]:
    yield "by_instance", connection.instance
    if connection.account is not None:
        yield "by_account", connection.account
    for room_or_topic in rooms_and_topics(connection):
        yield "by_room_or_topic", room_or_topic


#: A room is published as vacated after it was empty for this long (docs/protocol.md).
VACATED_AFTER_SECONDS: Final = 3.0
#: An instance is dead after this long without a record, unless a setting says otherwise.
INSTANCE_TIMEOUT_SECONDS: Final = 20.0
#: A change that is not read back for this long is published again.
READ_BACK_TIMEOUT_SECONDS: Final = 60.0
#: Limit of connections, and of rooms and topics, in one round. A round is one transaction.
MAX_CHANGES: Final = 1_000


class PresenceChanges(NamedTuple):
    """What the leader must publish now."""

    lost_connections: list[ConnectionPresence]
    dead_instances: list[str]
    occupied: list[RoomOrTopic]
    vacated: list[RoomOrTopic]


class PresenceTracker:
    """The state topic's view of instances and connections. `now` is on any monotonic clock."""

    def __init__(self, instance_timeout_seconds: float = INSTANCE_TIMEOUT_SECONDS) -> None:
        self._instance_timeout_seconds = instance_timeout_seconds
        self.index = PresenceIndex()
        self.published_occupied: set[RoomOrTopic] = set()  #: as the state topic has it
        self._last_seen: dict[str, float] = {}
        self._restarted: set[str] = set()
        # Places whose occupancy differs from what was published, with the time of the change.
        self._unpublished_since: dict[RoomOrTopic, float] = {}
        # Changes that were published and not read back yet, with the time of publishing.
        self._pending_since: dict[tuple[str, ...], float] = {}
        self._checked_at = 0.0

    def apply(self, record: StateRecord | Tombstone, now: float) -> None:
        """Apply a record of the state topic."""
        match record:
            case InstanceHeartbeat():
                previous = self.index.instances.get(record.instance)
                if previous is None or previous.boot != record.boot:
                    self._restarted.add(record.instance)
                self._last_seen[record.instance] = now
                self.index.update_instance(record)
            case ConnectionPresence():
                heartbeat = self.index.instances.get(record.instance)
                if heartbeat is not None and heartbeat.boot != record.boot:
                    self._restarted.add(record.instance)
                self._last_seen[record.instance] = now
                self._update_occupancy(self.index.update_connection(record), now)
            case Occupancy(kind, name):
                self.published_occupied.add((kind, name))
                self._pending_since.pop(("occupied", kind, name), None)
                self._update_occupancy([(kind, name)], now)
            case Tombstone("occupied", (kind, name)):
                self.published_occupied.discard((kind, name))
                self._pending_since.pop(("vacated", kind, name), None)
                self._update_occupancy([(kind, name)], now)
            case Tombstone("connection", (id,)):
                self._pending_since.pop(("connection", id), None)
                self._update_occupancy(self.index.remove(record), now)
            case Tombstone("instance", (instance,)):
                self._pending_since.pop(("instance", instance), None)
                self.index.remove(record)
                if instance not in self.index.by_instance:
                    self._last_seen.pop(instance, None)
                    self._restarted.discard(instance)
            case _:
                pass

    def reset_timeouts(self, now: float) -> None:
        """Restart all timeouts at `now`, because this instance did not read for a while."""
        self._last_seen = dict.fromkeys(self._last_seen, now)
        self._unpublished_since = dict.fromkeys(self._unpublished_since, now)

    def due_changes(self, now: float) -> PresenceChanges:
        """Return what to publish at `now`. Call `mark_published` before publishing it."""
        self._checked_at = now
        lost_connections: list[ConnectionPresence] = []
        dead_instances = [
            instance
            for instance in self._last_seen
            if self._collect_lost(instance, now, lost_connections)
        ]
        occupied: list[RoomOrTopic] = []
        vacated: list[RoomOrTopic] = []
        for room_or_topic, since in self._unpublished_since.items():
            if self._is_pending("occupied", *room_or_topic) or self._is_pending(
                "vacated", *room_or_topic
            ):
                continue
            if room_or_topic in self.index.by_room_or_topic:
                occupied.append(room_or_topic)
            elif now - since >= VACATED_AFTER_SECONDS:
                vacated.append(room_or_topic)
        return PresenceChanges(
            lost_connections, dead_instances, occupied[:MAX_CHANGES], vacated[:MAX_CHANGES]
        )

    def mark_published(self, changes: PresenceChanges) -> None:
        """Do not return `changes` again until they are read back or time out."""
        self._pending_since |= dict.fromkeys(_change_keys(changes), self._checked_at)

    def mark_failed(self, changes: PresenceChanges) -> None:
        """Return `changes` again: they were not published."""
        for key in _change_keys(changes):
            self._pending_since.pop(key, None)

    def _collect_lost(
        self, instance: str, now: float, lost_connections: list[ConnectionPresence]
    ) -> bool:
        """Add connections that `instance` lost when it died or restarted, up to the limit.

        Return whether it is dead and no connection of it is left.
        """
        has_timed_out = now - self._last_seen[instance] >= self._instance_timeout_seconds
        heartbeat = self.index.instances.get(instance)
        connections = self.index.by_instance.get(instance, {}).values()
        if has_timed_out:
            stale = [*connections]
        elif heartbeat is not None and instance in self._restarted:
            stale = [connection for connection in connections if connection.boot != heartbeat.boot]
            if not stale:
                self._restarted.discard(instance)
        else:
            return False
        remaining = MAX_CHANGES - len(lost_connections)
        unpublished = [
            connection for connection in stale if not self._is_pending("connection", connection.id)
        ]
        lost_connections += unpublished[:remaining]
        return (
            has_timed_out
            and len(unpublished) <= remaining
            and not self._is_pending("instance", instance)
        )

    def _is_pending(self, *key: str) -> bool:
        """Whether a change was published within the timeout and is not read back yet."""
        published_at = self._pending_since.get(key)
        return (
            published_at is not None and self._checked_at - published_at < READ_BACK_TIMEOUT_SECONDS
        )

    def _update_occupancy(self, rooms_and_topics: Iterable[RoomOrTopic], now: float) -> None:
        """Note which of these places differ from what was published."""
        for room_or_topic in rooms_and_topics:
            if (room_or_topic in self.index.by_room_or_topic) == (
                room_or_topic in self.published_occupied
            ):
                self._unpublished_since.pop(room_or_topic, None)
            else:
                self._unpublished_since.setdefault(room_or_topic, now)


def _change_keys(changes: PresenceChanges) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = [
        ("connection", connection.id) for connection in changes.lost_connections
    ]
    keys += [("instance", instance) for instance in changes.dead_instances]
    keys += [("occupied", *room_or_topic) for room_or_topic in changes.occupied]
    keys += [("vacated", *room_or_topic) for room_or_topic in changes.vacated]
    return keys
