"""Instances that die, start anew, pause and return, and the one on duty: all on a clock of its own.

The rule kept here: they share nothing but the state topic, each reads it a while after it was
written, and none knows more of another than what stands in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import state_records
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.coordination.state_records import (
    ConnectionPresence,
    InstanceHeartbeat,
    Occupancy,
    StateRecord,
    Tombstone,
)
from tests.core.state_record_factories import SINCE

if TYPE_CHECKING:
    from bridge.core.coordination.presence import RoomOrTopic

TICK_SECONDS = 0.1
HEARTBEAT_SECONDS = 2.0
#: One that has not read itself for so long says nothing of others' until it surely has read
#: whatever was said of it meanwhile.
STALE_SECONDS, QUIET_SECONDS = 5.0, 2.5


class StateTopicEntry(NamedTuple):
    """A record of the state topic."""

    written_at: float
    record: StateRecord | Tombstone


class SimulatedTopics:
    """The state topic, and what backends are told, by whom it is about."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.lag_seconds = 0.0
        self.state: list[StateTopicEntry] = []
        self.lifecycle_notices: dict[str | RoomOrTopic, list[str]] = {}

    def write_state(self, record: StateRecord | Tombstone) -> None:
        self.state.append(StateTopicEntry(self.now_seconds, record))

    def publish_notice(self, about: str | RoomOrTopic, notice: str) -> None:
        self.lifecycle_notices.setdefault(about, []).append(notice)

    def readable_from(self, start_index: int) -> list[StateTopicEntry]:
        """What can be read by now of what stands behind `start_index`."""
        readable = []
        for entry in self.state[start_index:]:
            if entry.written_at > self.now_seconds - self.lag_seconds:
                break
            readable.append(entry)
        return readable


class SimulatedInstance:
    """Says who is connected to it, as far as others may rely on it."""

    def __init__(self, name: str, boot: str, topics: SimulatedTopics) -> None:
        self.name = name
        self.boot = boot
        self.rooms_by_client: dict[str, tuple[str, ...]] = {}  #: the rooms of each
        self.is_paused = False
        self._topics = topics
        self._published: dict[str, ConnectionPresence] = {}
        self._next_index = len(topics.state)
        self._next_heartbeat = self._quiet_until = topics.now_seconds
        self._last_echo = topics.now_seconds

    def tick(self) -> None:
        if self.is_paused:
            return
        now = self._topics.now_seconds
        if now - self._last_echo > STALE_SECONDS:
            self._quiet_until = now + QUIET_SECONDS
        for entry in self._topics.readable_from(self._next_index):
            self._next_index += 1
            self._apply(entry)
        if now >= self._next_heartbeat:
            self._publish_heartbeat()
        if now >= self._quiet_until:
            self._publish_changes()

    def _publish_heartbeat(self) -> None:
        self._next_heartbeat = self._topics.now_seconds + HEARTBEAT_SECONDS
        self._topics.write_state(InstanceHeartbeat(self.name, self.boot, SINCE, SINCE))

    def _apply(self, entry: StateTopicEntry) -> None:
        match entry.record:
            case InstanceHeartbeat(instance=self.name, boot=self.boot):
                self._last_echo = entry.written_at
            case Tombstone("instance", (self.name,)):
                self._publish_heartbeat()
            case Tombstone("connection", (id,)):
                self._published.pop(id, None)
            case _:
                pass

    def _publish_changes(self) -> None:
        for id in self._published.keys() - self.rooms_by_client.keys():
            self._topics.write_state(Tombstone("connection", (id,)))
            self._topics.publish_notice(id, "disconnected")
            del self._published[id]
        for id, rooms in self.rooms_by_client.items():
            present = ConnectionPresence(id, self.name, self.boot, None, "", SINCE, [*rooms])
            if self._published.get(id) != present:
                self._topics.write_state(present)
                if id not in self._published:
                    self._topics.publish_notice(id, "connected")
                self._published[id] = present


class SimulatedLeader:
    """Tells what the census finds due."""

    def __init__(self, topics: SimulatedTopics) -> None:
        self._topics = topics
        self._next_index = 0
        self.census = PresenceTracker()

    def become_leader(self) -> None:
        """Begin, once everything is read that the one before has written."""
        for entry in self._topics.state[self._next_index :]:
            self.census.apply(entry.record, self._topics.now_seconds)
        self._next_index = len(self._topics.state)
        self.census.reset_timeouts(self._topics.now_seconds)

    def read_state(self) -> None:
        for entry in self._topics.readable_from(self._next_index):
            self._next_index += 1
            self.census.apply(entry.record, self._topics.now_seconds)

    def publish_findings(self) -> None:
        findings = self.census.due_changes(self._topics.now_seconds)
        self.census.mark_published(findings)
        for present in findings.lost_connections:
            self._topics.publish_notice(present.id, "disconnected")
            self._topics.write_state(Tombstone("connection", (present.id,)))
        for instance in findings.dead_instances:
            self._topics.write_state(Tombstone("instance", (instance,)))
        for place in findings.occupied:
            self._topics.publish_notice(place, "occupied")
            self._topics.write_state(Occupancy(*place))
        for place in findings.vacated:
            self._topics.publish_notice(place, "vacated")
            self._topics.write_state(Tombstone("occupied", place))


def compact(topics: SimulatedTopics) -> list[StateTopicEntry]:
    """The state topic with the last record of each key alone."""
    last: dict[bytes, StateTopicEntry] = {}
    for entry in topics.state:
        if isinstance(entry.record, Tombstone):
            last.pop(",".join([entry.record.kind, *entry.record.names]).encode(), None)
        else:
            last.pop(state_records.record_key(entry.record), None)
            last[state_records.record_key(entry.record)] = entry
    return [*last.values()]
