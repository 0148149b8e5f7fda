"""A session is in one state, and the table says what may follow."""

from __future__ import annotations

from itertools import product

import pytest

from bridge.core.sessions.session import TRANSITIONS, Signal, State
from tests.core.given import session

ALLOWED = {
    (State.OPENING, Signal.WELCOMED): State.LIVE,
    (State.OPENING, Signal.RETURNED): State.REPLAYING,
    (State.OPENING, Signal.HUNG_UP): State.CLOSING,
    (State.OPENING, Signal.LOST): State.CLOSED,
    (State.REPLAYING, Signal.CAUGHT_UP): State.LIVE,
    (State.REPLAYING, Signal.HUNG_UP): State.CLOSING,
    (State.REPLAYING, Signal.LOST): State.CLOSED,
    (State.LIVE, Signal.HUNG_UP): State.CLOSING,
    (State.LIVE, Signal.LOST): State.CLOSED,
    (State.CLOSING, Signal.LOST): State.CLOSED,
}


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_what_can_not_happen_is_a_bug_that_says_so(state: State, signal: Signal) -> None:
    it = session()
    it.state = state
    if (state, signal) in ALLOWED:
        it.on(signal)
        assert it.state is ALLOWED[state, signal]
    else:
        with pytest.raises(AssertionError, match=f"{signal.name} in {state.name}"):
            it.on(signal)
        assert it.state is state


def test_every_state_has_a_row_and_none_is_left_for_good_but_the_last() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state in State if Signal.LOST not in TRANSITIONS[state]] == [State.CLOSED]


def test_a_session_begins_with_nothing() -> None:
    it = session(topics=())
    assert it.state is State.OPENING
    assert (it.topics, it.rooms, it.types, it.floors) == (frozenset(), {}, None, None)
    assert (it.replay, it.home) == (None, None)
    assert (it.close, it.dirty, it.outbox.pending) == (None, False, 0)


@pytest.mark.parametrize("state", State)
def test_one_may_talk_and_is_sent_events_from_its_welcome_to_its_end(state: State) -> None:
    it = session()
    it.state = state
    assert it.welcomed == (state in {State.REPLAYING, State.LIVE})


def test_a_session_costs_no_dictionary() -> None:
    # Ten thousand idle ones are the measure (design, "One event's way through").
    assert not hasattr(session(), "__dict__")
