"""What an instance publishes about its clients: once, and only while it reads itself back."""

from __future__ import annotations

import json

import pytest

from bridge.coordination import presence as presence_module
from bridge.coordination.presence import MAX_ECHO_AGE_SECONDS
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence, Tombstone
from bridge.core.protocol import close_codes
from tests.coordination.presence_recorder import TOPICS, PresenceHarness, present_records
from tests.core.factories import attached_session


@pytest.fixture
def it() -> PresenceHarness:
    """A publisher that has just read its heartbeat back."""
    made = PresenceHarness()
    made.apply_echo()
    return made


def connection_tombstone(id: str) -> Tombstone:
    return Tombstone("connection", (id,))


# -- connected and disconnected --------------------------------------------------------------------


def test_a_new_connection_is_published_once(it: PresenceHarness) -> None:
    attached_session(it.hub, "c1")
    assert it.publish_changes() == ["+connection,c1", "connected c1"]
    assert it.publish_changes() == []


def test_changed_subscriptions_are_published_again(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1", topics=["orders"], rooms=["hall"])
    it.publisher.publish_changes()
    it.hub.subscribe(ann, ["news"], ["yard"])
    it.hub.unsubscribe(ann, ["orders"], ["hall"])
    it.publisher.publish_changes()
    published = [(each.topics, each.rooms) for each in present_records(it.writer.take_written())]
    assert published == [(["orders"], ["hall"]), (["news"], ["yard"])]


def test_an_undone_change_is_not_published(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1", rooms=["hall"])
    it.publish_changes()
    it.hub.subscribe(ann, [], ["yard"])
    it.hub.unsubscribe(ann, [], ["yard"])
    assert it.publish_changes() == []


@pytest.mark.parametrize(
    ("why", "code", "reason"),
    [
        (close_codes.DISCONNECTED, 4504, "disconnected by the backend"),
        (close_codes.SLOW._replace(reason="slow: really"), 4002, "slow: really"),
    ],
)
def test_a_close_by_the_bridge_is_published_with_code_and_reason(
    it: PresenceHarness, why: close_codes.CloseCode, code: int, reason: str
) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.hub.close(ann, why)
    it.publisher.publish_changes()
    tombstone, notice = it.writer.take_written()
    assert tombstone == (TOPICS.state, b"connection,c1", None)
    data = json.loads(notice.value or b"")["data"]
    assert (notice.key, data["code"], data["reason"]) == (b"ann", code, reason)
    it.hub.detach(ann)
    assert it.publish_changes() == []


@pytest.mark.parametrize("code", [1000, 1006])
def test_a_close_by_the_client_is_published_with_its_code_and_no_reason(
    it: PresenceHarness, code: int
) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    ann.client_close_code = code
    it.hub.detach(ann)
    it.publisher.publish_changes()
    notice = json.loads(it.writer.take_written()[1].value or b"")
    assert (notice["data"]["code"], "reason" in notice["data"]) == (code, False)


def test_a_connection_between_two_polls_is_published_as_connected_and_disconnected(
    it: PresenceHarness,
) -> None:
    it.hub.detach(attached_session(it.hub, "c1"))
    assert it.publish_changes() == ["connected c1", "disconnected c1 1006"]
    assert it.publish_changes() == []


def test_a_session_that_was_never_welcomed_is_not_published(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.hub.close(ann, close_codes.DRAINING)
    it.publish_changes()
    it.hub.close(ann, close_codes.EXPIRED)
    it.hub.detach(ann)
    assert it.publish_changes() == []


# -- the echo of its heartbeat ---------------------------------------------------------------------


def test_nothing_is_published_before_the_first_echo() -> None:
    it = PresenceHarness()
    attached_session(it.hub, "c1")
    assert (it.publisher.is_current(), it.publish_changes()) == (False, [])
    it.apply_echo(1.0)
    assert it.publish_changes() == ["+connection,c1", "connected c1"]


def test_nothing_is_published_while_the_last_echo_is_old(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.now_seconds += MAX_ECHO_AGE_SECONDS - 0.01
    assert it.publisher.is_current()
    it.now_seconds += 0.02
    bob = attached_session(it.hub, "c2")
    it.hub.detach(ann)
    attached_session(it.hub, "c3")
    assert it.publish_changes() == []
    it.hub.detach(bob)
    assert (it.publisher.is_current(), it.publish_changes()) == (False, [])
    it.apply_echo()
    published = it.publish_changes()
    assert sorted(published) == sorted(
        [
            *("-connection,c1", "disconnected c1 1006"),
            *("connected c2", "disconnected c2 1006"),
            *("+connection,c3", "connected c3"),
        ]
    )
    assert published.index("connected c2") < published.index("disconnected c2 1006")


def test_an_old_heartbeat_read_late_is_no_current_echo(it: PresenceHarness) -> None:
    it.now_seconds += 60
    it.apply_echo(MAX_ECHO_AGE_SECONDS + 0.01)
    assert not it.publisher.is_current()
    it.publisher.apply(it.alive_record(boot="of an earlier start"))
    assert not it.publisher.is_current()
    it.apply_echo(MAX_ECHO_AGE_SECONDS - 0.01)
    assert it.publisher.is_current()


def test_a_clock_set_back_does_not_keep_the_echo_current(it: PresenceHarness) -> None:
    it.now_seconds -= 3600
    assert not it.publisher.is_current()
    it.apply_echo()
    assert it.publisher.is_current()


# -- removed by the leader -------------------------------------------------------------------------


def test_after_a_removal_connected_clients_are_published_again(
    it: PresenceHarness,
) -> None:
    stays, _ = attached_session(it.hub, "c1"), attached_session(it.hub, "c2")
    went, unpublished = attached_session(it.hub, "c3"), attached_session(it.hub, "c4")
    it.publish_changes()
    it.now_seconds += 60  # it was paused, and the leader removed all of its clients
    it.hub.detach(went)
    it.hub.subscribe(stays, [], ["hall"])
    attached_session(it.hub, "c5")
    assert it.publish_changes() == []
    for id in ("c1", "c2", "c3", "c4"):
        it.publisher.apply(connection_tombstone(id))
    it.hub.detach(unpublished)
    it.publisher.apply(Tombstone("instance", (it.hub.instance,)))
    assert it.take_summaries() == ["+instance,i1"]
    it.apply_echo()
    published = it.publish_changes()
    assert sorted(published) == sorted(
        [
            *("+connection,c1", "connected c1", "+connection,c2", "connected c2"),
            *("connected c4", "disconnected c4 1006"),
            *("+connection,c5", "connected c5"),
        ]
    )
    assert it.publish_changes() == []
    it.publisher.apply(connection_tombstone("c3"))  # a repeated tombstone
    assert it.publish_changes() == []


def test_a_client_removed_by_the_leader_is_not_published_as_disconnected(
    it: PresenceHarness,
) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.now_seconds += 60
    it.hub.detach(ann)
    it.publish_changes()  # polled, but not published without an echo
    it.publisher.apply(connection_tombstone("c1"))
    it.apply_echo()
    assert it.publish_changes() == []


def test_its_own_tombstones_are_ignored(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.hub.detach(ann)
    it.publish_changes()
    it.publisher.apply(connection_tombstone("c1"))
    it.publisher.apply(connection_tombstone("of another"))
    it.publisher.apply(Tombstone("instance", ("another",)))
    it.publisher.apply(state_records.Checkpoint(7))
    it.publisher.apply(
        ConnectionPresence("c9", "another", "b", None, "", "2026-11-18T11:06:40.123Z")
    )
    assert (it.publish_changes(), it.take_summaries()) == ([], [])


def test_thousands_of_removed_clients_are_published_once_each(it: PresenceHarness) -> None:
    ids = [f"c{number}" for number in range(2000)]
    for id in ids:
        attached_session(it.hub, id)
    assert len(it.publish_changes()) == 2 * len(ids)
    looks = 0
    take = it.hub.registry.pop_changed

    def counted() -> list:  # type: ignore[type-arg]
        nonlocal looks
        changed = take()
        looks += len(changed)
        return changed

    it.hub.registry.pop_changed = counted  # type: ignore[method-assign]
    for id in ids:
        it.publisher.apply(connection_tombstone(id))
    assert it.take_summaries() == [], "published by the next poll, not for each"
    expected = [word for id in ids for word in (f"+connection,{id}", f"connected {id}")]
    assert it.publish_changes() == expected
    assert (it.publish_changes(), looks) == ([], 0)


def test_unpublished_disconnected_clients_are_bounded(
    it: PresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "MAX_PENDING_CLIENTS", 10)
    attached_session(it.hub, "stays")
    it.publish_changes()
    it.now_seconds += 60  # no echo, and clients come and go
    for number in range(30):
        ann = attached_session(it.hub, f"c{number}")
        if number % 2:
            assert it.publish_changes() == []  # it was polled
        it.hub.detach(ann)
        assert it.publish_changes() == []
    assert len(it.publisher._pending) <= 10 + len(it.hub.registry)
    kept = len(it.publisher._pending)
    assert it.publisher.unpublished_count == 30 - kept > 0
    it.apply_echo()
    assert len(it.publish_changes()) == 2 * kept


def test_connected_clients_are_published_however_many_wait(
    it: PresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "MAX_PENDING_CLIENTS", 1)
    said = attached_session(it.hub, "said")
    it.publish_changes()
    it.now_seconds += 60
    for number in range(5):
        it.hub.detach(attached_session(it.hub, f"gone{number}"))
        attached_session(it.hub, f"here{number}")
    it.hub.detach(said)
    it.publish_changes()
    it.apply_echo()
    published = it.publish_changes()
    assert [f"connected here{n}" in published for n in range(5)] == [True] * 5
    assert "disconnected said 1006" in published


def test_many_clients_are_published_in_batches() -> None:
    it = PresenceHarness()
    it.apply_echo()
    for number in range(5):
        attached_session(it.hub, f"c{number}")
    assert it.publisher.publish_changes(2)
    assert len(present_records(it.writer.take_written())) == 2
    assert it.publisher.publish_changes(2)
    assert not it.publisher.publish_changes(2)
    assert len(present_records(it.writer.take_written())) == 3
