"""The states of a client, and what leads from one to the next: the one table of all libraries.

The rule kept here: a client's state changes by this table and nowhere else; what is not in it can
not happen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a client is."""

    IDLE = "idle"  #: not started
    CONNECTING = "connecting"  #: opening, or waiting for the welcome
    REPLAYING = "replaying"  #: sent what was missed
    LIVE = "live"  #: sent what happens
    WAITING = "waiting"  #: will connect again
    CLOSED = "closed"  #: over, with a code and a reason


class Trigger(StrEnum):
    """What may befall it."""

    START = "start"
    WELCOMED = "welcomed"  #: with nothing to be replayed
    RETURNED = "returned"  #: welcomed, after a resume or with a time to replay from
    CAUGHT_UP = "caught up"  #: the `live` frame
    LOST = "lost"  #: a close, an error, or silence
    DUE = "due"  #: the backoff is over, or it was woken
    REFUSED = "refused"  #: for good
    STOPPED = "stopped"  #: by the user


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
    """Return the state that follows; None where that can not happen."""
    return TRANSITIONS[state].get(trigger)
