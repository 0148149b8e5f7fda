"""Tells Kafka, and by it the other instances and backends, who is connected here.

Rules: what is told is what is true when it is written; clients never wait for it. One that has not
heard itself of late tells of nobody until it has: others may have taken it for dead meanwhile, and
told of its clients. So of each client is told once that it came, and once that it went.
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
#: Clients that are told of without a break.
MAX_BATCH_CLIENTS: Final = 200
#: How old the last that it has heard of itself may be; far less than after what others judge it.
MAX_ECHO_AGE_SECONDS: Final = 5.0
#: Clients that may wait to be told of, beside those that are connected.
MAX_PENDING_CLIENTS: Final = 20_000
_log = logging.getLogger(__name__)


class PresencePublisher:
    """Says who is connected to `hub`, from its start to its end."""

    def __init__(
        self,
        hub: Hub,
        state_writer: StateWriter,
        topics: BridgeTopics,
        *,
        is_ready: Callable[[], bool],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`is_ready` says whether the instance takes clients; `wall_clock` the seconds since 1970."""
        self._hub = hub
        self._state_writer = state_writer
        self._topics = topics
        self._is_ready = is_ready
        self._wall_clock = wall_clock
        self._started_at = timestamps.ms_to_rfc3339(int(wall_clock() * 1000))
        self._published: dict[str, ConnectionPresence] = {}
        self._pending: dict[str, Session] = {}  # by id, and not told yet
        self._last_echo_seconds = 0.0
        self._is_stopping = self._has_name_conflict = False
        self.boot = uuid.uuid4().hex
        self.unpublished_count = (
            0  #: clients that came and went unsaid: there were too many of them
        )

    def is_current(self) -> bool:
        """Whether what this instance says of itself comes back to it without delay.

        If so, it has also read what others have said before.
        """
        return abs(self._wall_clock() - self._last_echo_seconds) < MAX_ECHO_AGE_SECONDS

    async def run(self) -> None:
        """Say it, until cancelled; then that this instance is no more.

        Cancellation: safe; what is left is handed to the scribe.
        """
        next_heartbeat = 0.0
        now = asyncio.get_running_loop().time
        try:
            while True:
                if now() >= next_heartbeat:
                    next_heartbeat = now() + HEARTBEAT_SECONDS
                    self._publish_heartbeat()
                while self.publish_changes(MAX_BATCH_CLIENTS):  # noqa: ASYNC110 - nothing is waited for
                    await asyncio.sleep(0)  # let others have their turn
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
        finally:
            self._is_stopping = True
            self.publish_changes()
            if (
                self.is_current() and not self._published
            ):  # else others tell it, and of who is left here
                self._state_writer.queue_state_record(
                    self._topics.state, state_records.record_key(self._heartbeat()), None
                )

    def publish_changes(self, max_clients: int | None = None) -> bool:
        """Say who has come, gone, or follows something else by now; of `max_clients` clients at a time.

        Return whether there are more.
        """
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
        """Take what the state topic says; answer where it says that who is here is gone."""
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
                    self._pending.pop(id, None)  # that it went was told
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
                "another instance calls itself %s too: give each a name of its own"
                " (BRIDGE_INSTANCE)",
                self._hub.instance,
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
        if connection is None:  # it came and went since the last look
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
