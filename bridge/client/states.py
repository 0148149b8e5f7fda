"""The states of a client and their transitions; the JavaScript client has the same table.

Rule: a client's state changes only by this table. In a state, every trigger that the table does
not list has no effect.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a client."""

    IDLE = "idle"  #: not started
    CONNECTING = "connecting"  #: dials, and waits for the `welcome`
    REPLAYING = "replaying"  #: missed events arrive
    LIVE = "live"  #: events arrive as they happen
    WAITING = "waiting"  #: the backoff before the next attempt
    CLOSED = "closed"  #: ended, with a code and a reason


class Trigger(StrEnum):
    """An event that can change the state."""

    START = "start"
    WELCOMED = "welcomed"  #: received `welcome`, no replay follows
    RETURNED = "returned"  #: received `welcome`, a replay follows
    CAUGHT_UP = "caught up"  #: received `live`
    LOST = "lost"  #: a close, an error, or silence
    DUE = "due"  #: the backoff is over, or `wake` was called
    REFUSED = "refused"  #: the bridge refuses the client for good
    STOPPED = "stopped"  #: the user closed the client


TRANSITIONS: Final[dict[State, dict[Trigger, State]]] = {
    State.IDLE: {Trigger.START: State.CONNECTING, Trigger.STOPPED: State.CLOSED},
    State.CONNECTING: {
        Trigger.WELCOMED: State.LIVE,
        Trigger.RETURNED: State.REPLAYING,
        Trigger.LOST: State.WAITING,
        Trigger.REFUSED: State.CLOSED,
        Trigger.STOPPED: State.CLOSED,
    },
    State.REPLAYING: {
        Trigger.CAUGHT_UP: State.LIVE,
        Trigger.LOST: State.WAITING,
        Trigger.REFUSED: State.CLOSED,
        Trigger.STOPPED: State.CLOSED,
    },
    State.LIVE: {
        Trigger.LOST: State.WAITING,
        Trigger.REFUSED: State.CLOSED,
        Trigger.STOPPED: State.CLOSED,
    },
    State.WAITING: {Trigger.DUE: State.CONNECTING, Trigger.STOPPED: State.CLOSED},
    State.CLOSED: {},
}


def next_state(state: State, trigger: Trigger) -> State | None:
    """Return the next state; None if the trigger has no effect."""
    return TRANSITIONS[state].get(trigger)
