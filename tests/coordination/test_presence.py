"""What an instance says of its clients: each time once, and only while it hears itself."""

from __future__ import annotations

import json

import pytest

from bridge.coordination import presence as heralding
from bridge.coordination.presence import ECHO_SECONDS
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Gone, Present
from bridge.core.protocol import close_codes
from tests.core.given import attached
from tests.kafka.saying import OWN, Speaker, presents


@pytest.fixture
def it() -> Speaker:
    """One that has just heard itself."""
    made = Speaker()
    made.echo()
    return made


def gone(id: str) -> Gone:
    return Gone("connection", (id,))


# -- who came, who went ----------------------------------------------------------------------------


def test_who_came_is_told_once(it: Speaker) -> None:
    attached(it.hub, "c1")
    assert it.tell() == ["+connection,c1", "connected c1"]
    assert it.tell() == []


def test_it_is_told_what_a_client_follows_and_again_when_that_changes(it: Speaker) -> None:
    ann = attached(it.hub, "c1", topics=["orders"], rooms=["hall"])
    it.herald.tell_changes()
    it.hub.follow(ann, ["news"], ["yard"])
    it.hub.unfollow(ann, ["orders"], ["hall"])
    it.herald.tell_changes()
    told = [(each.topics, each.rooms) for each in presents(it.notebook.take())]
    assert told == [(["orders"], ["hall"]), (["news"], ["yard"])]


def test_a_change_that_was_taken_back_is_no_news(it: Speaker) -> None:
    ann = attached(it.hub, "c1", rooms=["hall"])
    it.tell()
    it.hub.follow(ann, [], ["yard"])
    it.hub.unfollow(ann, [], ["yard"])
    assert it.tell() == []


@pytest.mark.parametrize(
    ("why", "code", "reason"),
    [
        (close_codes.DISCONNECTED, 4504, "disconnected by the backend"),
        (close_codes.SLOW._replace(reason="slow: really"), 4002, "slow: really"),
    ],
)
def test_who_was_hung_up_on_is_told_with_the_code_and_the_reason(
    it: Speaker, why: close_codes.Close, code: int, reason: str
) -> None:
    ann = attached(it.hub, "c1")
    it.tell()
    it.hub.hang_up(ann, why)
    it.herald.tell_changes()
    tombstone, notice = it.notebook.take()
    assert tombstone == (OWN.state, b"connection,c1", None)
    data = json.loads(notice.value or b"")["data"]
    assert (notice.key, data["code"], data["reason"]) == (b"ann", code, reason)
    it.hub.detach(ann)
    assert it.tell() == []


@pytest.mark.parametrize("code", [1000, 1006])
def test_who_left_is_told_with_the_clients_own_code_and_no_reason(it: Speaker, code: int) -> None:
    ann = attached(it.hub, "c1")
    it.tell()
    ann.left = code
    it.hub.detach(ann)
    it.herald.tell_changes()
    notice = json.loads(it.notebook.take()[1].value or b"")
    assert (notice["data"]["code"], "reason" in notice["data"]) == (code, False)


def test_who_came_and_went_between_two_looks_is_told_both(it: Speaker) -> None:
    it.hub.detach(attached(it.hub, "c1"))
    assert it.tell() == ["connected c1", "disconnected c1 1006"]
    assert it.tell() == []


def test_who_was_never_welcomed_is_not_told(it: Speaker) -> None:
    ann = attached(it.hub, "c1")
    it.hub.hang_up(ann, close_codes.DRAINING)
    it.tell()
    it.hub.hang_up(ann, close_codes.EXPIRED)
    it.hub.detach(ann)
    assert it.tell() == []


# -- hearing itself --------------------------------------------------------------------------------


def test_nothing_is_told_before_it_has_heard_itself() -> None:
    it = Speaker()
    attached(it.hub, "c1")
    assert (it.herald.current(), it.tell()) == (False, [])
    it.echo(1.0)
    assert it.tell() == ["+connection,c1", "connected c1"]


def test_nothing_is_told_while_it_has_not_heard_itself_for_a_while(it: Speaker) -> None:
    ann = attached(it.hub, "c1")
    it.tell()
    it.now += ECHO_SECONDS - 0.01
    assert it.herald.current()
    it.now += 0.02
    bob = attached(it.hub, "c2")
    it.hub.detach(ann)
    attached(it.hub, "c3")
    assert it.tell() == []
    it.hub.detach(bob)
    assert (it.herald.current(), it.tell()) == (False, [])
    it.echo()
    told = it.tell()
    assert sorted(told) == sorted(
        [
            *("-connection,c1", "disconnected c1 1006"),
            *("connected c2", "disconnected c2 1006"),
            *("+connection,c3", "connected c3"),
        ]
    )
    assert told.index("connected c2") < told.index("disconnected c2 1006")


def test_what_it_said_long_ago_and_reads_late_does_not_make_it_current(it: Speaker) -> None:
    it.now += 60
    it.echo(ECHO_SECONDS + 0.01)
    assert not it.herald.current()
    it.herald.hear(it.alive(boot="of an earlier start"))
    assert not it.herald.current()
    it.echo(ECHO_SECONDS - 0.01)
    assert it.herald.current()


def test_a_clock_that_was_set_back_does_not_make_it_current_for_long(it: Speaker) -> None:
    it.now -= 3600
    assert not it.herald.current()
    it.echo()
    assert it.herald.current()


# -- taken for dead --------------------------------------------------------------------------------


def test_one_that_returns_tells_anew_who_is_here_and_not_again_who_went(it: Speaker) -> None:
    stays, _ = attached(it.hub, "c1"), attached(it.hub, "c2")
    went, unsaid = attached(it.hub, "c3"), attached(it.hub, "c4")
    it.tell()
    it.now += 60  # it was stopped, and others told that all of them are lost
    it.hub.detach(went)
    it.hub.follow(stays, [], ["hall"])
    attached(it.hub, "c5")
    assert it.tell() == []
    for id in ("c1", "c2", "c3", "c4"):
        it.herald.hear(gone(id))
    it.hub.detach(unsaid)
    it.herald.hear(Gone("instance", (it.hub.instance,)))
    assert it.words() == ["+instance,i1"]
    it.echo()
    told = it.tell()
    assert sorted(told) == sorted(
        [
            *("+connection,c1", "connected c1", "+connection,c2", "connected c2"),
            *("connected c4", "disconnected c4 1006"),
            *("+connection,c5", "connected c5"),
        ]
    )
    assert it.tell() == []
    it.herald.hear(gone("c3"))  # whoever told it reads it back as well
    assert it.tell() == []


def test_who_went_before_it_was_read_that_all_are_lost_is_not_told_to_have_gone(
    it: Speaker,
) -> None:
    ann = attached(it.hub, "c1")
    it.tell()
    it.now += 60
    it.hub.detach(ann)
    it.tell()  # looked, but not told: it has not heard itself
    it.herald.hear(gone("c1"))
    it.echo()
    assert it.tell() == []


def test_its_own_words_are_no_news_to_it(it: Speaker) -> None:
    ann = attached(it.hub, "c1")
    it.tell()
    it.hub.detach(ann)
    it.tell()
    it.herald.hear(gone("c1"))
    it.herald.hear(gone("of another"))
    it.herald.hear(Gone("instance", ("another",)))
    it.herald.hear(state_records.Folded(7))
    it.herald.hear(Present("c9", "another", "b", None, "", "2026-11-18T11:06:40.123Z"))
    assert (it.tell(), it.words()) == ([], [])


def test_that_thousands_were_lost_is_answered_once_for_each(it: Speaker) -> None:
    ids = [f"c{number}" for number in range(2000)]
    for id in ids:
        attached(it.hub, id)
    assert len(it.tell()) == 2 * len(ids)
    looks = 0
    take = it.hub.crowd.take_changed

    def counted() -> list:  # type: ignore[type-arg]
        nonlocal looks
        changed = take()
        looks += len(changed)
        return changed

    it.hub.crowd.take_changed = counted  # type: ignore[method-assign]
    for id in ids:
        it.herald.hear(gone(id))
    assert it.words() == [], "told when it is looked, not for each"
    expected = [word for id in ids for word in (f"+connection,{id}", f"connected {id}")]
    assert it.tell() == expected
    assert (it.tell(), looks) == ([], 0)


def test_who_came_and_went_unsaid_is_kept_within_bounds(
    it: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heralding, "MOST_WAITING", 10)
    attached(it.hub, "stays")
    it.tell()
    it.now += 60  # nobody reads it, and clients come and go
    for number in range(30):
        ann = attached(it.hub, f"c{number}")
        if number % 2:
            assert it.tell() == []  # it was seen here
        it.hub.detach(ann)
        assert it.tell() == []
    assert len(it.herald._changed) <= 10 + len(it.hub.crowd)
    kept = len(it.herald._changed)
    assert it.herald.untold == 30 - kept > 0
    it.echo()
    assert len(it.tell()) == 2 * kept


def test_who_is_connected_is_told_however_many_wait(
    it: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heralding, "MOST_WAITING", 1)
    said = attached(it.hub, "said")
    it.tell()
    it.now += 60
    for number in range(5):
        it.hub.detach(attached(it.hub, f"gone{number}"))
        attached(it.hub, f"here{number}")
    it.hub.detach(said)
    it.tell()
    it.echo()
    told = it.tell()
    assert [f"connected here{n}" in told for n in range(5)] == [True] * 5
    assert "disconnected said 1006" in told


def test_of_many_it_tells_a_portion_at_a_time() -> None:
    it = Speaker()
    it.echo()
    for number in range(5):
        attached(it.hub, f"c{number}")
    assert it.herald.tell_changes(2)
    assert len(presents(it.notebook.take())) == 2
    assert it.herald.tell_changes(2)
    assert not it.herald.tell_changes(2)
    assert len(presents(it.notebook.take())) == 3
