"""A session is in one state, and the table says what may follow."""

from __future__ import annotations

from itertools import product

import pytest

from bridge.core.sessions.session import TRANSITIONS, SessionState, SessionTrigger
from tests.core.factories import session

ALLOWED = {
    (SessionState.OPENING, SessionTrigger.WELCOMED): SessionState.LIVE,
    (SessionState.OPENING, SessionTrigger.RESUMED): SessionState.REPLAYING,
    (SessionState.OPENING, SessionTrigger.CLOSED_BY_SERVER): SessionState.CLOSING,
    (SessionState.OPENING, SessionTrigger.DISCONNECTED): SessionState.CLOSED,
    (SessionState.REPLAYING, SessionTrigger.CAUGHT_UP): SessionState.LIVE,
    (SessionState.REPLAYING, SessionTrigger.CLOSED_BY_SERVER): SessionState.CLOSING,
    (SessionState.REPLAYING, SessionTrigger.DISCONNECTED): SessionState.CLOSED,
    (SessionState.LIVE, SessionTrigger.PARTITION_RETURNED): SessionState.REPLAYING,
    (SessionState.LIVE, SessionTrigger.CLOSED_BY_SERVER): SessionState.CLOSING,
    (SessionState.LIVE, SessionTrigger.DISCONNECTED): SessionState.CLOSED,
    (SessionState.CLOSING, SessionTrigger.DISCONNECTED): SessionState.CLOSED,
}


@pytest.mark.parametrize(("state", "signal"), list(product(SessionState, SessionTrigger)))
def test_what_can_not_happen_is_a_bug_that_says_so(
    state: SessionState, signal: SessionTrigger
) -> None:
    it = session()
    it.state = state
    if (state, signal) in ALLOWED:
        it.transition(signal)
        assert it.state is ALLOWED[state, signal]
    else:
        with pytest.raises(AssertionError, match=f"{signal.name} in {state.name}"):
            it.transition(signal)
        assert it.state is state


def test_every_state_has_a_row_and_none_is_left_for_good_but_the_last() -> None:
    assert set(TRANSITIONS) == set(SessionState)
    assert [
        state for state in SessionState if SessionTrigger.DISCONNECTED not in TRANSITIONS[state]
    ] == [SessionState.CLOSED]


def test_a_session_begins_with_nothing() -> None:
    it = session(topics=())
    assert it.state is SessionState.OPENING
    assert (it.topics, it.rooms, it.type_filter, it.min_offsets) == (frozenset(), {}, None, None)
    assert (it.replay, it.index) == (None, None)
    assert (it.close_code, it.is_flush_pending, it.outbox.pending_bytes) == (None, False, 0)


@pytest.mark.parametrize("state", SessionState)
def test_one_may_talk_and_is_sent_events_from_its_welcome_to_its_end(state: SessionState) -> None:
    it = session()
    it.state = state
    assert it.is_welcomed == (state in {SessionState.REPLAYING, SessionState.LIVE})


def test_a_session_costs_no_dictionary() -> None:
    # Ten thousand idle ones are the measure (design, "One event's way through").
    assert not hasattr(session(), "__dict__")
