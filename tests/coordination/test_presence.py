"""What an instance says of its clients: each time once, and only while it hears itself."""

from __future__ import annotations

import json

import pytest

from bridge.coordination import presence as heralding
from bridge.coordination.presence import MAX_ECHO_AGE_SECONDS
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence, Tombstone
from bridge.core.protocol import close_codes
from tests.coordination.presence_recorder import TOPICS, PresenceHarness, present_records
from tests.core.factories import attached_session


@pytest.fixture
def it() -> PresenceHarness:
    """One that has just heard itself."""
    made = PresenceHarness()
    made.apply_echo()
    return made


def gone(id: str) -> Tombstone:
    return Tombstone("connection", (id,))


# -- who came, who went ----------------------------------------------------------------------------


def test_who_came_is_told_once(it: PresenceHarness) -> None:
    attached_session(it.hub, "c1")
    assert it.publish_changes() == ["+connection,c1", "connected c1"]
    assert it.publish_changes() == []


def test_it_is_told_what_a_client_follows_and_again_when_that_changes(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1", topics=["orders"], rooms=["hall"])
    it.publisher.publish_changes()
    it.hub.subscribe(ann, ["news"], ["yard"])
    it.hub.unsubscribe(ann, ["orders"], ["hall"])
    it.publisher.publish_changes()
    told = [(each.topics, each.rooms) for each in present_records(it.writer.take_written())]
    assert told == [(["orders"], ["hall"]), (["news"], ["yard"])]


def test_a_change_that_was_taken_back_is_no_news(it: PresenceHarness) -> None:
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
def test_who_was_hung_up_on_is_told_with_the_code_and_the_reason(
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
def test_who_left_is_told_with_the_clients_own_code_and_no_reason(
    it: PresenceHarness, code: int
) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    ann.client_close_code = code
    it.hub.detach(ann)
    it.publisher.publish_changes()
    notice = json.loads(it.writer.take_written()[1].value or b"")
    assert (notice["data"]["code"], "reason" in notice["data"]) == (code, False)


def test_who_came_and_went_between_two_looks_is_told_both(it: PresenceHarness) -> None:
    it.hub.detach(attached_session(it.hub, "c1"))
    assert it.publish_changes() == ["connected c1", "disconnected c1 1006"]
    assert it.publish_changes() == []


def test_who_was_never_welcomed_is_not_told(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.hub.close(ann, close_codes.DRAINING)
    it.publish_changes()
    it.hub.close(ann, close_codes.EXPIRED)
    it.hub.detach(ann)
    assert it.publish_changes() == []


# -- hearing itself --------------------------------------------------------------------------------


def test_nothing_is_told_before_it_has_heard_itself() -> None:
    it = PresenceHarness()
    attached_session(it.hub, "c1")
    assert (it.publisher.is_current(), it.publish_changes()) == (False, [])
    it.apply_echo(1.0)
    assert it.publish_changes() == ["+connection,c1", "connected c1"]


def test_nothing_is_told_while_it_has_not_heard_itself_for_a_while(it: PresenceHarness) -> None:
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
    told = it.publish_changes()
    assert sorted(told) == sorted(
        [
            *("-connection,c1", "disconnected c1 1006"),
            *("connected c2", "disconnected c2 1006"),
            *("+connection,c3", "connected c3"),
        ]
    )
    assert told.index("connected c2") < told.index("disconnected c2 1006")


def test_what_it_said_long_ago_and_reads_late_does_not_make_it_current(it: PresenceHarness) -> None:
    it.now_seconds += 60
    it.apply_echo(MAX_ECHO_AGE_SECONDS + 0.01)
    assert not it.publisher.is_current()
    it.publisher.apply(it.alive_record(boot="of an earlier start"))
    assert not it.publisher.is_current()
    it.apply_echo(MAX_ECHO_AGE_SECONDS - 0.01)
    assert it.publisher.is_current()


def test_a_clock_that_was_set_back_does_not_make_it_current_for_long(it: PresenceHarness) -> None:
    it.now_seconds -= 3600
    assert not it.publisher.is_current()
    it.apply_echo()
    assert it.publisher.is_current()


# -- taken for dead --------------------------------------------------------------------------------


def test_one_that_returns_tells_anew_who_is_here_and_not_again_who_went(
    it: PresenceHarness,
) -> None:
    stays, _ = attached_session(it.hub, "c1"), attached_session(it.hub, "c2")
    went, unsaid = attached_session(it.hub, "c3"), attached_session(it.hub, "c4")
    it.publish_changes()
    it.now_seconds += 60  # it was stopped, and others told that all of them are lost
    it.hub.detach(went)
    it.hub.subscribe(stays, [], ["hall"])
    attached_session(it.hub, "c5")
    assert it.publish_changes() == []
    for id in ("c1", "c2", "c3", "c4"):
        it.publisher.apply(gone(id))
    it.hub.detach(unsaid)
    it.publisher.apply(Tombstone("instance", (it.hub.instance,)))
    assert it.take_summaries() == ["+instance,i1"]
    it.apply_echo()
    told = it.publish_changes()
    assert sorted(told) == sorted(
        [
            *("+connection,c1", "connected c1", "+connection,c2", "connected c2"),
            *("connected c4", "disconnected c4 1006"),
            *("+connection,c5", "connected c5"),
        ]
    )
    assert it.publish_changes() == []
    it.publisher.apply(gone("c3"))  # whoever told it reads it back as well
    assert it.publish_changes() == []


def test_who_went_before_it_was_read_that_all_are_lost_is_not_told_to_have_gone(
    it: PresenceHarness,
) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.now_seconds += 60
    it.hub.detach(ann)
    it.publish_changes()  # looked, but not told: it has not heard itself
    it.publisher.apply(gone("c1"))
    it.apply_echo()
    assert it.publish_changes() == []


def test_its_own_words_are_no_news_to_it(it: PresenceHarness) -> None:
    ann = attached_session(it.hub, "c1")
    it.publish_changes()
    it.hub.detach(ann)
    it.publish_changes()
    it.publisher.apply(gone("c1"))
    it.publisher.apply(gone("of another"))
    it.publisher.apply(Tombstone("instance", ("another",)))
    it.publisher.apply(state_records.Checkpoint(7))
    it.publisher.apply(
        ConnectionPresence("c9", "another", "b", None, "", "2026-11-18T11:06:40.123Z")
    )
    assert (it.publish_changes(), it.take_summaries()) == ([], [])


def test_that_thousands_were_lost_is_answered_once_for_each(it: PresenceHarness) -> None:
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
        it.publisher.apply(gone(id))
    assert it.take_summaries() == [], "told when it is looked, not for each"
    expected = [word for id in ids for word in (f"+connection,{id}", f"connected {id}")]
    assert it.publish_changes() == expected
    assert (it.publish_changes(), looks) == ([], 0)


def test_who_came_and_went_unsaid_is_kept_within_bounds(
    it: PresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heralding, "MAX_PENDING_CLIENTS", 10)
    attached_session(it.hub, "stays")
    it.publish_changes()
    it.now_seconds += 60  # nobody reads it, and clients come and go
    for number in range(30):
        ann = attached_session(it.hub, f"c{number}")
        if number % 2:
            assert it.publish_changes() == []  # it was seen here
        it.hub.detach(ann)
        assert it.publish_changes() == []
    assert len(it.publisher._pending) <= 10 + len(it.hub.registry)
    kept = len(it.publisher._pending)
    assert it.publisher.unpublished_count == 30 - kept > 0
    it.apply_echo()
    assert len(it.publish_changes()) == 2 * kept


def test_who_is_connected_is_told_however_many_wait(
    it: PresenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heralding, "MAX_PENDING_CLIENTS", 1)
    said = attached_session(it.hub, "said")
    it.publish_changes()
    it.now_seconds += 60
    for number in range(5):
        it.hub.detach(attached_session(it.hub, f"gone{number}"))
        attached_session(it.hub, f"here{number}")
    it.hub.detach(said)
    it.publish_changes()
    it.apply_echo()
    told = it.publish_changes()
    assert [f"connected here{n}" in told for n in range(5)] == [True] * 5
    assert "disconnected said 1006" in told


def test_of_many_it_tells_a_portion_at_a_time() -> None:
    it = PresenceHarness()
    it.apply_echo()
    for number in range(5):
        attached_session(it.hub, f"c{number}")
    assert it.publisher.publish_changes(2)
    assert len(present_records(it.writer.take_written())) == 2
    assert it.publisher.publish_changes(2)
    assert not it.publisher.publish_changes(2)
    assert len(present_records(it.writer.take_written())) == 3
