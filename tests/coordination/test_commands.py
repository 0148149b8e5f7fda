"""Records of the control and state topics, and what they change on this instance."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bridge.coordination import commands as commands_module
from bridge.coordination.commands import CommandConsumer
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.coordination.room_memberships import CommandExecutor, Memberships
from bridge.core.coordination.state_records import (
    Checkpoint,
    Membership,
    TokenRevocation,
    Tombstone,
)
from bridge.core.protocol.record import Batch, UnusableRecord
from tests.core.factories import ConsumerRecord, attached_session, hub, take_frames
from tests.core.state_record_factories import alive_record, present_record

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import StateRecord

TOPICS = BridgeTopics("push-bridge")
OLD, NEW = b"8 bytes.", b"another."
NOON, LATE = "2026-11-21T12:00:00.000Z", "2026-11-21T15:00:00.000Z"


class CommandHarness:
    """A consumer of commands whose publisher and leader tasks record their calls."""

    def __init__(self) -> None:
        self.hub = hub()
        self.memberships = Memberships()
        self.presence_tracker = PresenceTracker()
        self.drain_count = 0
        self.unusable: list[UnusableRecord] = []
        self.published: list[StateRecord | Tombstone] = []
        self.queued_updates: list[tuple[int, bytes, bytes | None]] = []
        self.replaced_updates: list[tuple[bytes, bytes | None]] = []
        self.checkpoints: list[int] = []
        self.reset_count = 0
        double: Any = self
        ignored: Any = SimpleNamespace(apply=lambda _record: None)
        self.consumer = CommandConsumer(
            *(
                TOPICS,
                CommandExecutor(self.hub, self.memberships),
                self.presence_tracker,
                double,
                double,
                ignored,
            ),
            max_bytes=2000,
            drain=self.drain,
            add_dead_letter=self.unusable.append,
        )

    def drain(self) -> None:
        self.drain_count += 1

    # called as the PresencePublisher and the LeaderTasks
    def apply(self, state_record: StateRecord | Tombstone) -> None:
        self.published.append(state_record)

    def queue_state_update(self, offset: int, key: bytes, value: bytes | None) -> None:
        self.queued_updates.append((offset, key, value))

    def replace_state_update(self, key: bytes, value: bytes | None) -> None:
        self.replaced_updates.append((key, value))

    def apply_checkpoint(self, offset: int) -> None:
        self.checkpoints.append(offset)

    def reset_checkpoint(self) -> None:
        self.reset_count += 1

    def read_commands(self, *commands: dict[str, Any] | bytes | None, offset: int = 0) -> None:
        """Apply commands, the first at this offset."""
        values = [json.dumps(it).encode() if isinstance(it, dict) else it for it in commands]
        records = [
            ConsumerRecord(offset + n, 1000, b"k", value, ()) for n, value in enumerate(values)
        ]
        self.consumer.apply(Batch(TOPICS.control, 0, records, offset + len(records)))

    def read_state(self, *state: StateRecord | Tombstone | ConsumerRecord) -> None:
        """Apply state records."""
        records = [it if isinstance(it, ConsumerRecord) else as_record(it) for it in state]
        self.consumer.apply(Batch(TOPICS.state, 0, records, len(records)))

    def reasons(self) -> list[tuple[str, int, str]]:
        return [(it.topic, it.record.offset, it.error.reason) for it in self.unusable]


def as_record(state_record: StateRecord | Tombstone) -> ConsumerRecord:
    if isinstance(state_record, Tombstone):
        return ConsumerRecord(
            0, 0, ",".join([state_record.kind, *state_record.names]).encode(), None, ()
        )
    return ConsumerRecord(
        0, 0, state_records.record_key(state_record), state_records.encode(state_record), ()
    )


def join(room: str = "hall") -> dict[str, Any]:
    return {"do": "join", "room": room, "account": "ann"}


def disconnect() -> dict[str, Any]:
    return {"do": "disconnect", "account": "ann"}


@pytest.fixture
def it() -> CommandHarness:
    return CommandHarness()


def test_it_consumes_the_control_and_the_state_topic(it: CommandHarness) -> None:
    assert it.consumer.consumed_topics == (TOPICS.control, TOPICS.state)


# -- commands --------------------------------------------------------------------------------------


def test_a_command_changes_sessions_and_queues_its_state_update(it: CommandHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.read_commands(join(), disconnect(), offset=5)
    assert [frame["op"] for frame in take_frames(ann)] == ["closing"], "the queue was discarded"
    assert ann.close_code is not None
    key, value = b"member,ann,hall", state_records.encode(Membership("ann", "hall"))
    assert (it.queued_updates, it.unusable) == ([(5, key, value)], [])


def test_of_a_command_before_the_start_only_durable_effects_apply(it: CommandHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.consumer.set_start_offsets({0: 10})
    it.read_commands(disconnect(), join(), {"do": "drain", "instance": "i1"}, offset=7)
    assert (ann.is_welcomed, it.drain_count, set(ann.rooms)) == (True, 0, {"hall"})
    assert [offset for offset, _, _ in it.queued_updates] == [8]
    it.read_commands(disconnect(), offset=10)
    assert not ann.is_welcomed


def test_each_partition_has_its_own_start_offset(it: CommandHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.consumer.set_start_offsets({1: 10})
    it.read_commands(disconnect())
    assert not ann.is_welcomed


def test_only_the_named_instance_is_drained(it: CommandHarness) -> None:
    it.read_commands({"do": "drain", "instance": "another"})
    assert it.drain_count == 0
    it.read_commands({"do": "drain", "instance": "i1"})
    assert it.drain_count == 1


def test_an_invalid_command_is_a_dead_letter_and_does_not_block(it: CommandHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.read_commands(
        b"{",
        None,
        {"do": "dance"},
        {"do": "join", "room": "a,b", "account": "ann"},
        {"do": "revoke", "account": "ann", "before": "yesterday"},
        {**join(), "reason": "x" * 3000},
        join(),
        offset=3,
    )
    reasons = [*["bad_command"] * 3, "bad_name", "bad_time", "too_large"]
    assert it.reasons() == [(TOPICS.control, 3 + n, reason) for n, reason in enumerate(reasons)]
    assert set(ann.rooms) == {"hall"}
    assert [offset for offset, _, _ in it.queued_updates] == [9]


def test_an_invalid_command_before_the_start_is_a_dead_letter_too(it: CommandHarness) -> None:
    it.consumer.set_start_offsets({0: 10})
    it.read_commands(b"{")
    assert it.reasons() == [(TOPICS.control, 0, "bad_command")]


# -- state records ---------------------------------------------------------------------------------


def test_a_state_record_is_applied_to_every_part(it: CommandHarness) -> None:
    state = (
        alive_record(),
        present_record("c1", ("hall",)),
        Membership("ann", "hall"),
        Checkpoint(7),
    )
    it.read_state(*state, Tombstone("title", ("hall",)))
    assert it.published == [*state, Tombstone("title", ("hall",))]
    assert it.presence_tracker.index.connections.keys() == {"c1"}
    assert (it.memberships.rooms_by_account, it.checkpoints, it.replaced_updates) == (
        {"ann": {"hall"}},
        [7],
        [],
    )


def test_an_invalid_state_record_is_a_dead_letter_and_does_not_block(it: CommandHarness) -> None:
    it.read_state(
        ConsumerRecord(0, 0, b"key", b"{", ()),
        ConsumerRecord(1, 0, None, None, ()),
        ConsumerRecord(2, 0, b"title,yard", state_records.encode(Membership("ann", "hall")), ()),
        ConsumerRecord(3, 0, b"\xff", None, ()),
        Membership("ann", "hall"),
    )
    assert it.reasons() == [(TOPICS.state, n, "bad_state") for n in range(4)]
    assert it.published == [Membership("ann", "hall")]


def test_the_latest_revocation_of_command_and_state_record_is_queued(it: CommandHarness) -> None:
    it.read_commands({"do": "revoke", "account": "ann", "before": NOON}, offset=4)
    key = b"revoked,ann"
    assert it.queued_updates == [(4, key, state_records.encode(TokenRevocation("ann", NOON)))]
    it.read_state(TokenRevocation("ann", LATE))
    assert it.replaced_updates == [(key, state_records.encode(TokenRevocation("ann", LATE)))]


# -- recreated and truncated topics ----------------------------------------------------------------


def test_expired_unread_records_drain_the_instance(
    it: CommandHarness, caplog: pytest.LogCaptureFixture
) -> None:
    it.consumer.report_gap(TOPICS.control, "corrupt")
    it.consumer.report_gap(TOPICS.state, "truncated")
    assert (it.drain_count, caplog.messages) == (0, [])
    it.consumer.report_gap(TOPICS.control, "expired")
    assert it.drain_count == 1
    assert TOPICS.control in caplog.text


def test_commands_of_a_recreated_topic_are_executed(
    it: CommandHarness, caplog: pytest.LogCaptureFixture
) -> None:
    ann = attached_session(it.hub, "c1")
    it.consumer.set_start_offsets({0: 10})
    it.consumer.start_topic(TOPICS.control, OLD)
    it.consumer.start_topic(TOPICS.control, OLD)
    it.read_commands(disconnect(), offset=9)
    assert (ann.is_welcomed, caplog.messages) == (True, [])
    with caplog.at_level(logging.ERROR, commands_module.__name__):
        it.consumer.start_topic(TOPICS.control, NEW)
    assert TOPICS.control in caplog.text
    it.read_commands(disconnect())
    assert (ann.is_welcomed, it.reset_count) == (False, 1)


def test_a_recreated_state_topic_does_not_execute_old_commands(it: CommandHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.consumer.set_start_offsets({0: 10})
    it.consumer.start_topic(TOPICS.control, OLD)
    it.consumer.start_topic(TOPICS.state, OLD)
    it.consumer.start_topic(TOPICS.state, NEW)
    it.read_commands(disconnect(), offset=9)
    assert (ann.is_welcomed, it.reset_count) == (True, 0)


# -- state records that nobody can understand ------------------------------------------------------

TIME = "2026-01-01T00:00:00Z"
WRONG_STATE: dict[str, dict[str, Any]] = {
    "revoked,ann": {"is": "revoked", "account": "ann", "before": "yesterday"},
    "revoked,bob": {"is": "revoked", "account": "bob", "before": "9" * 5000},
    "member,ann,a*": {"is": "member", "account": "ann", "room": "a*"},
    "title,\u202e": {"is": "title", "room": "\u202e", "title": "x"},
    "instance,i": {"is": "instance", "instance": "i", "boot": "b", "since": TIME, "heard": "now"},
    "instance,j": {"is": "instance", "instance": "j", "boot": "b", "since": "", "heard": TIME},
    "occupied,planet,mars": {"is": "occupied", "kind": "planet", "name": "mars"},
    "folded": {"is": "folded", "offset": -1},
    "connection,c": {
        "is": "connection",
        "id": "c",
        "instance": "i",
        "boot": "b",
        "account": None,
        "address": "::1",
        "since": "now",
    },
    "connection,d": {
        "is": "connection",
        "id": "d",
        "instance": "i",
        "boot": "b",
        "account": None,
        "address": "::1",
        "since": TIME,
        "rooms": ["a,b"],
    },
}


@pytest.mark.parametrize("key", WRONG_STATE)
def test_a_state_record_that_cannot_be_understood_hurts_none_behind_it(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    harness = CommandHarness()
    wrong = ConsumerRecord(3, 5_000, key.encode(), json.dumps(WRONG_STATE[key]).encode(), ())
    harness.read_state(wrong, state_records.TokenRevocation("cleo", TIME))
    assert harness.reasons() == [(TOPICS.state, 3, "bad_state")]
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert "cleo" in harness.memberships.revoked_before_seconds


def test_a_revocation_without_a_readable_time_counts_as_of_its_record() -> None:
    harness = CommandHarness()
    for key in ("revoked,ann", "revoked,bob"):
        harness.read_state(
            ConsumerRecord(3, 5_000, key.encode(), json.dumps(WRONG_STATE[key]).encode(), ())
        )
    memberships = harness.memberships
    assert memberships.revoked_before_seconds == {"ann": 5.0, "bob": 5.0}
    assert memberships.is_revoked("ann", 4.9)
    assert not memberships.is_revoked("ann", 5.1)
