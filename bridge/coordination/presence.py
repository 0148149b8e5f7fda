"""Publishes who is connected to this instance, to other instances and to backends.

Rule: each client is published once as connected and once as disconnected. So nothing is published
unless this instance reads its own heartbeats back: the leader may have removed its clients.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import InstanceHeartbeat, Tombstone
from bridge.core.protocol import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.coordination.state_writer import StateWriter
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.coordination.state_records import (
        ConnectionPresence,
        LifecycleRecord,
        StateRecord,
    )
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

POLL_INTERVAL_SECONDS: Final = 0.1
HEARTBEAT_SECONDS: Final = 2.0
#: Clients published in one turn of the event loop.
MAX_BATCH_CLIENTS: Final = 200
#: Maximum age of the last heartbeat read back. Others remove an instance
#: after `BRIDGE_INSTANCE_TIMEOUT_SECONDS` of silence, at least twice as long.
MAX_ECHO_AGE_SECONDS: Final = 5.0
#: Clients that may wait to be published, plus as many as are connected.
MAX_PENDING_CLIENTS: Final = 20_000
_log = logging.getLogger(__name__)


class PresencePublisher:
    """Publishes the sessions of `hub` and a heartbeat of this instance."""

    def __init__(
        self,
        hub: Hub,
        state_writer: StateWriter,
        topics: BridgeTopics,
        *,
        is_ready: Callable[[], bool],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`is_ready` is part of the heartbeat. `wall_clock` returns seconds since 1970."""
        self._hub = hub
        self._state_writer = state_writer
        self._topics = topics
        self._is_ready = is_ready
        self._wall_clock = wall_clock
        self._started_at = timestamps.ms_to_rfc3339(int(wall_clock() * 1000))
        self._published: dict[str, ConnectionPresence] = {}
        self._pending: dict[str, Session] = {}  # changed since they were published, by id
        self._last_echo_seconds = 0.0
        self._is_stopping = self._has_name_conflict = False
        self.boot = uuid.uuid4().hex
        #: Clients that connected and disconnected unpublished, because too many were waiting.
        self.unpublished_count = 0

    def is_current(self) -> bool:
        """Whether this instance reads its own heartbeats back without delay.

        Then it has also read every earlier record of the state topic.
        """
        return abs(self._wall_clock() - self._last_echo_seconds) < MAX_ECHO_AGE_SECONDS

    async def run(self) -> None:
        """Publish until cancelled, then a tombstone of this instance.

        Cancellation: safe. The last records are queued in the state writer.
        """
        next_heartbeat = 0.0
        now = asyncio.get_running_loop().time
        try:
            while True:
                if now() >= next_heartbeat:
                    next_heartbeat = now() + HEARTBEAT_SECONDS
                    self._publish_heartbeat()
                while self.publish_changes(MAX_BATCH_CLIENTS):  # noqa: ASYNC110 - not a poll
                    await asyncio.sleep(0)  # let other tasks run
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
        finally:
            self._is_stopping = True
            self.publish_changes()
            self._report_unpublished()
            # Otherwise the leader removes this instance and its remaining connections.
            if self.is_current() and not self._published:
                self._state_writer.queue_state_record(
                    self._topics.state, state_records.record_key(self._heartbeat()), None
                )

    def publish_changes(self, max_clients: int | None = None) -> bool:
        """Publish the changed sessions, at most `max_clients`. Return whether more are left."""
        self._collect_changes()
        if not self.is_current():
            return False
        for id in list(islice(self._pending, max_clients)):
            session = self._pending.pop(id)
            if session.is_welcomed:
                self._publish_presence(session)
            else:
                self._publish_disconnect(session)
        return bool(self._pending)

    def apply(self, state_record: StateRecord | Tombstone) -> None:
        """Apply a record of the state topic. Publish again what it removes by mistake."""
        match state_record:
            case InstanceHeartbeat(instance=self._hub.instance):
                self._apply_echo(state_record)
            case Tombstone("instance", (self._hub.instance,)) if not self._is_stopping:
                self._publish_heartbeat()
            case Tombstone("connection", (id,)) if id in self._published:
                self._collect_changes()
                del self._published[id]
                session = self._hub.registry.by_id.get(id)
                if session is None:
                    self._pending.pop(id, None)  # its end is published already
                else:
                    self._pending[id] = session
            case _:
                pass

    def _apply_echo(self, echo: InstanceHeartbeat) -> None:
        if echo.boot == self.boot:
            self._last_echo_seconds = timestamps.rfc3339_to_ms(echo.heard) / 1000
        elif echo.heard > self._started_at and not self._has_name_conflict:
            self._has_name_conflict = True
            _log.error(
                "another instance has the same name: set BRIDGE_INSTANCE to a unique one"
                " instance=%s",
                self._hub.instance,
            )

    def _report_unpublished(self) -> None:
        """Count and log the clients that nobody can tell of: no instance has read of them."""
        count = sum(id not in self._published for id in self._pending)
        self.unpublished_count += count
        if count:
            _log.warning(
                "backends are not told of clients that came and went: Kafka did not answer before"
                " this instance ended clients=%d",
                count,
            )

    def _collect_changes(self) -> None:
        for session in self._hub.registry.pop_changed():
            has_room = len(self._pending) < MAX_PENDING_CLIENTS + len(self._hub.registry)
            if has_room or session.is_welcomed or session.id in self._published:
                self._pending[session.id] = session
            else:
                self._pending.pop(session.id, None)
                self.unpublished_count += 1

    def _heartbeat(self) -> InstanceHeartbeat:
        timestamp = timestamps.ms_to_rfc3339(int(self._wall_clock() * 1000))
        connections = len(self._hub.registry)
        instance = self._hub.instance
        return InstanceHeartbeat(
            instance, self.boot, self._started_at, timestamp, connections, self._is_ready()
        )

    def _publish_heartbeat(self) -> None:
        heartbeat = self._heartbeat()
        self._state_writer.queue_state_record(
            self._topics.state, state_records.record_key(heartbeat), state_records.encode(heartbeat)
        )

    def _publish_presence(self, session: Session) -> None:
        connection = state_records.describe_connection(session, self._hub.instance, self.boot)
        previous = self._published.get(session.id)
        if connection == previous:
            return
        self._published[session.id] = connection
        self._state_writer.queue_state_record(
            self._topics.state,
            state_records.record_key(connection),
            state_records.encode(connection),
        )
        if previous is None:
            self._queue_lifecycle_record(state_records.connected_record(connection))

    def _publish_disconnect(self, session: Session) -> None:
        connection = self._published.pop(session.id, None)
        if connection is None:  # it connected and disconnected since the last poll
            connection = state_records.describe_connection(session, self._hub.instance, self.boot)
            self._queue_lifecycle_record(state_records.connected_record(connection))
        else:
            self._state_writer.queue_state_record(
                self._topics.state, state_records.record_key(connection), None
            )
        close = session.close_code
        code, reason = (
            (session.client_close_code, "") if close is None else (close.code, close.reason)
        )
        self._queue_lifecycle_record(state_records.disconnected_record(connection, code, reason))

    def _queue_lifecycle_record(self, record: LifecycleRecord) -> None:
        self._state_writer.queue_lifecycle_record(self._topics.lifecycle, *record)
