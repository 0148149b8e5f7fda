"""A presence publisher with a recording state writer and the clock of a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.coordination.presence import PresencePublisher
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence, InstanceHeartbeat, Tombstone
from bridge.core.protocol import timestamps
from tests.core.factories import hub, record

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import StateRecord

TOPICS = BridgeTopics("push-bridge")
NOON_SECONDS = 1_795_262_400.0


class WrittenRecord(NamedTuple):
    """A queued record."""

    topic: str
    key: bytes | None
    value: bytes | None


class RecordingStateWriter:
    """A state writer that keeps all queued records in `written`, in order."""

    def __init__(self) -> None:
        self.written: list[WrittenRecord] = []

    def queue_state_record(self, topic: str, key: bytes, value: bytes | None) -> None:
        assert topic == TOPICS.state
        self.written.append(WrittenRecord(topic, key, value))

    def queue_lifecycle_record(self, topic: str, key: bytes | None, value: bytes) -> None:
        assert topic == TOPICS.lifecycle
        self.written.append(WrittenRecord(topic, key, value))

    def take_written(self) -> list[WrittenRecord]:
        written, self.written = self.written, []
        return written


class PresenceHarness:
    """A publisher of a hub. Tests decide when it reads its records back."""

    def __init__(self, *, ready: bool = True) -> None:
        self.now_seconds = NOON_SECONDS
        self.hub = hub()
        self.writer = RecordingStateWriter()
        self.publisher = self._new_publisher(ready=ready)
        self.unread_records: list[StateRecord | Tombstone] = []

    def _new_publisher(self, *, ready: bool) -> PresencePublisher:
        state_writer: Any = self.writer
        return PresencePublisher(
            self.hub,
            state_writer,
            TOPICS,
            is_ready=lambda: ready,
            wall_clock=lambda: self.now_seconds,
        )

    def alive_record(
        self, seconds: float = 0.0, boot: str | None = None, since: float = NOON_SECONDS
    ) -> InstanceHeartbeat:
        """Return its heartbeat of so many seconds ago."""
        started, heartbeat = (
            timestamps.ms_to_rfc3339(int(at * 1000)) for at in (since, self.now_seconds - seconds)
        )
        return InstanceHeartbeat(self.hub.instance, boot or self.publisher.boot, started, heartbeat)

    def apply_echo(self, seconds: float = 0.0) -> None:
        """Let it read its heartbeat of so many seconds ago."""
        self.publisher.apply(self.alive_record(seconds))

    def publish_changes(self) -> list[str]:
        """Poll the hub and return what is published."""
        self.publisher.publish_changes()
        return self.take_summaries()

    def take_summaries(self) -> list[str]:
        """Return what was published since, in short."""
        return [summarize(each) for each in self.writer.take_written()]


def summarize(written: WrittenRecord) -> str:
    """Return `written` in short: `connected c1`, `disconnected c1 4504`, `+connection,c1`."""
    key = (written.key or b"").decode()
    if written.topic == TOPICS.state:
        return f"{'-' if written.value is None else '+'}{key}"
    notice = json.loads(written.value or b"")
    code = notice["data"].get("code")
    parts = [notice["type"], notice["data"]["connection"], *([] if code is None else [str(code)])]
    return " ".join(parts)


def read_state_record(written: WrittenRecord) -> StateRecord | Tombstone:
    """Decode a record of the state topic."""
    return state_records.decode(record(written.value)._replace(key=written.key))


def present_records(records: list[WrittenRecord]) -> list[ConnectionPresence]:
    """Return the connections in `records`."""
    state_topic_records = (each for each in records if each.topic == TOPICS.state)
    return [
        it
        for it in map(read_state_record, state_topic_records)
        if isinstance(it, ConnectionPresence)
    ]
