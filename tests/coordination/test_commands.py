"""What the bridge's own topics say, and what comes of it here."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from bridge.coordination import commands as offices
from bridge.coordination.commands import CommandConsumer
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.membership import CommandExecutor, Memberships
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.coordination.state_records import (
    Checkpoint,
    Membership,
    TokenRevocation,
    Tombstone,
)
from bridge.core.protocol.envelope import Batch, UnusableRecord
from tests.core.factories import ConsumerRecord, attached_session, hub, take_frames
from tests.core.state_record_factories import alive_record, present_record

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import StateRecord

OWN = BridgeTopics("push-bridge")
OLD, NEW = b"8 bytes.", b"another."
NOON, LATE = "2026-11-21T12:00:00.000Z", "2026-11-21T15:00:00.000Z"


class Bureau:
    """An office, and what it makes of what it reads."""

    def __init__(self) -> None:
        self.hub = hub()
        self.members = Memberships()
        self.census = PresenceTracker()
        self.left = 0
        self.dead: list[UnusableRecord] = []
        self.heard: list[StateRecord | Tombstone] = []
        self.kept: list[tuple[int, bytes, bytes | None]] = []
        self.amended: list[tuple[bytes, bytes | None]] = []
        self.folds: list[int] = []
        self.begun_anew = 0
        double: Any = self
        self.office = CommandConsumer(
            *(OWN, CommandExecutor(self.hub, self.members), self.census, double, double),
            max_bytes=2000,
            drain=self.leave,
            add_dead_letter=self.dead.append,
        )

    def leave(self) -> None:
        self.left += 1

    # called as the PresencePublisher and the LeaderTasks
    def apply(self, fact: StateRecord | Tombstone) -> None:
        self.heard.append(fact)

    def queue_state_update(self, offset: int, key: bytes, value: bytes | None) -> None:
        self.kept.append((offset, key, value))

    def replace_state_update(self, key: bytes, value: bytes | None) -> None:
        self.amended.append((key, value))

    def apply_checkpoint(self, offset: int) -> None:
        self.folds.append(offset)

    def reset_checkpoint(self) -> None:
        self.begun_anew += 1

    # what is read
    def told(self, *commands: dict[str, Any] | bytes | None, offset: int = 0) -> None:
        """Let it read commands, the first at this offset."""
        values = [json.dumps(it).encode() if isinstance(it, dict) else it for it in commands]
        records = [
            ConsumerRecord(offset + n, 1000, b"k", value, ()) for n, value in enumerate(values)
        ]
        self.office.apply(Batch(OWN.control, 0, records, offset + len(records)))

    def learns(self, *facts: StateRecord | Tombstone | ConsumerRecord) -> None:
        """Let it read facts."""
        records = [it if isinstance(it, ConsumerRecord) else stored(it) for it in facts]
        self.office.apply(Batch(OWN.state, 0, records, len(records)))

    def reasons(self) -> list[tuple[str, int, str]]:
        return [(it.topic, it.record.offset, it.error.reason) for it in self.dead]


def stored(fact: StateRecord | Tombstone) -> ConsumerRecord:
    if isinstance(fact, Tombstone):
        return ConsumerRecord(0, 0, ",".join([fact.kind, *fact.names]).encode(), None, ())
    return ConsumerRecord(0, 0, state_records.record_key(fact), state_records.encode(fact), ())


def join(room: str = "hall") -> dict[str, Any]:
    return {"do": "join", "room": room, "account": "ann"}


def disconnect() -> dict[str, Any]:
    return {"do": "disconnect", "account": "ann"}


@pytest.fixture
def it() -> Bureau:
    return Bureau()


def test_it_consumes_the_control_and_the_state_topic(it: Bureau) -> None:
    assert it.office.consumed_topics == (OWN.control, OWN.state)


# -- commands --------------------------------------------------------------------------------------


def test_a_command_changes_sessions_and_queues_its_state_update(it: Bureau) -> None:
    ann = attached_session(it.hub, "c1")
    it.told(join(), disconnect(), offset=5)
    assert [frame["op"] for frame in take_frames(ann)] == ["closing"], "the queue was discarded"
    assert ann.close_code is not None
    key, value = b"member,ann,hall", state_records.encode(Membership("ann", "hall"))
    assert (it.kept, it.dead) == ([(5, key, value)], [])


def test_of_a_command_before_the_start_only_durable_effects_apply(it: Bureau) -> None:
    ann = attached_session(it.hub, "c1")
    it.office.set_start_offsets({0: 10})
    it.told(disconnect(), join(), {"do": "drain", "instance": "i1"}, offset=7)
    assert (ann.is_welcomed, it.left, set(ann.rooms)) == (True, 0, {"hall"})
    assert [offset for offset, _, _ in it.kept] == [8]
    it.told(disconnect(), offset=10)
    assert not ann.is_welcomed


def test_each_partition_has_its_own_start_offset(it: Bureau) -> None:
    ann = attached_session(it.hub, "c1")
    it.office.set_start_offsets({1: 10})
    it.told(disconnect())
    assert not ann.is_welcomed


def test_only_the_named_instance_is_drained(it: Bureau) -> None:
    it.told({"do": "drain", "instance": "another"})
    assert it.left == 0
    it.told({"do": "drain", "instance": "i1"})
    assert it.left == 1


def test_an_invalid_command_is_a_dead_letter_and_does_not_block(it: Bureau) -> None:
    ann = attached_session(it.hub, "c1")
    it.told(
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
    assert it.reasons() == [(OWN.control, 3 + n, why) for n, why in enumerate(reasons)]
    assert set(ann.rooms) == {"hall"}
    assert [offset for offset, _, _ in it.kept] == [9]


def test_an_invalid_command_before_the_start_is_a_dead_letter_too(it: Bureau) -> None:
    it.office.set_start_offsets({0: 10})
    it.told(b"{")
    assert it.reasons() == [(OWN.control, 0, "bad_command")]


# -- facts -----------------------------------------------------------------------------------------


def test_a_state_record_is_applied_to_every_part(it: Bureau) -> None:
    facts = (
        alive_record(),
        present_record("c1", ("hall",)),
        Membership("ann", "hall"),
        Checkpoint(7),
    )
    it.learns(*facts, Tombstone("title", ("hall",)))
    assert it.heard == [*facts, Tombstone("title", ("hall",))]
    assert it.census.index.connections.keys() == {"c1"}
    assert (it.members.rooms_by_account, it.folds, it.amended) == ({"ann": {"hall"}}, [7], [])


def test_an_invalid_state_record_is_a_dead_letter_and_does_not_block(it: Bureau) -> None:
    it.learns(
        ConsumerRecord(0, 0, b"key", b"{", ()),
        ConsumerRecord(1, 0, None, None, ()),
        ConsumerRecord(2, 0, b"title,yard", state_records.encode(Membership("ann", "hall")), ()),
        ConsumerRecord(3, 0, b"\xff", None, ()),
        Membership("ann", "hall"),
    )
    assert it.reasons() == [(OWN.state, n, "bad_state") for n in range(4)]
    assert it.heard == [Membership("ann", "hall")]


def test_the_latest_revocation_of_command_and_state_record_is_queued(it: Bureau) -> None:
    it.told({"do": "revoke", "account": "ann", "before": NOON}, offset=4)
    key = b"revoked,ann"
    assert it.kept == [(4, key, state_records.encode(TokenRevocation("ann", NOON)))]
    it.learns(TokenRevocation("ann", LATE))
    assert it.amended == [(key, state_records.encode(TokenRevocation("ann", LATE)))]


# -- topics that are not what they were ------------------------------------------------------------


def test_expired_unread_records_drain_the_instance(
    it: Bureau, caplog: pytest.LogCaptureFixture
) -> None:
    it.office.report_gap(OWN.control, "corrupt")
    it.office.report_gap(OWN.state, "truncated")
    assert (it.left, caplog.messages) == (0, [])
    it.office.report_gap(OWN.control, "expired")
    assert it.left == 1
    assert OWN.control in caplog.text


def test_commands_of_a_recreated_topic_are_executed(
    it: Bureau, caplog: pytest.LogCaptureFixture
) -> None:
    ann = attached_session(it.hub, "c1")
    it.office.set_start_offsets({0: 10})
    it.office.start_topic(OWN.control, OLD)
    it.office.start_topic(OWN.control, OLD)
    it.told(disconnect(), offset=9)
    assert (ann.is_welcomed, caplog.messages) == (True, [])
    with caplog.at_level(logging.ERROR, offices.__name__):
        it.office.start_topic(OWN.control, NEW)
    assert OWN.control in caplog.text
    it.told(disconnect())
    assert (ann.is_welcomed, it.begun_anew) == (False, 1)


def test_a_recreated_state_topic_does_not_execute_old_commands(it: Bureau) -> None:
    ann = attached_session(it.hub, "c1")
    it.office.set_start_offsets({0: 10})
    it.office.start_topic(OWN.control, OLD)
    it.office.start_topic(OWN.state, OLD)
    it.office.start_topic(OWN.state, NEW)
    it.told(disconnect(), offset=9)
    assert (ann.is_welcomed, it.begun_anew) == (True, 0)
