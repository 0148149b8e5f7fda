"""Events to the sessions that they are for.

Rule: a session gets an event if it follows the topic, is in the audience and admits the type;
once, however many of its addresses match; and the first match, of connection, account, the
record's rooms in their order, and all, is why. The frame is built once per address, and what
follows each other for one audience is joined once, too.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final

from bridge.core import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bridge.core.event import Event
    from bridge.core.interest import Interest
    from bridge.core.session import Session

#: What a frame has beside its event's data, about.
_HEAD_BYTES: Final = 200
_RUN_BYTES: Final = 64 * 1024
_SHARE: Final = 16


def run_bytes(ceiling: int) -> int:
    """Return the bytes of frames that are queued together in outboxes with this ceiling."""
    return min(_RUN_BYTES, ceiling // _SHARE)


def runs(interest: Interest, events: Iterable[Event], most_bytes: int) -> Iterator[list[Event]]:
    """Yield the events that somebody here may want, in runs: consecutive ones for one audience.

    A run has about `most_bytes` of frames at most, or one event.
    """
    run: list[Event] = []
    size = 0
    for event in events:
        if run:
            if size < most_bytes and _are_alike(run[0], event):
                run.append(event)
                size += _HEAD_BYTES + len(event.data)
                continue
            yield run
            run = []
        if interest.follows(event):
            run = [event]
            size = _HEAD_BYTES + len(event.data)
    if run:
        yield run


def _are_alike(one: Event, other: Event) -> bool:
    return (
        one.rooms == other.rooms
        and one.accounts == other.accounts
        and one.connections == other.connections
        and one.all == other.all
    )


def deliver(
    interest: Interest,
    offer: Callable[[Session, bytes, int], bool],
    topic: str,
    partition: int,
    run: Sequence[Event],
) -> list[Session]:
    """Offer the events of a `run` to their sessions; return those that did not take them.

    `offer` is told the frames, joined, and of how many events they are.
    """
    matches = _matches(interest, run[0])
    if not matches:
        return []
    frames = [wire.EventFrame(topic, partition, event) for event in run]
    reached: set[Session] | None = set() if len(matches) > 1 else None
    overflowed: list[Session] = []
    for to, sessions in matches:
        wrapped: dict[Callable[[bytes], bytes], list[bytes]] = {}
        joined: dict[Callable[[bytes], bytes], bytes] = {}
        for session in sessions:
            if topic not in session.topics:
                continue
            if reached is not None:
                if session in reached:
                    continue
                reached.add(session)
            wrap, count = session.wrap, len(run)
            data = joined.get(wrap)
            if data is None:
                wrapped[wrap] = [wrap(frame.to(to)) for frame in frames]
                data = joined[wrap] = b"".join(wrapped[wrap])
            if session.types is not None or session.floors is not None:
                wanted = [_wants(session, topic, partition, event) for event in run]
                count = sum(wanted)
                data = b"".join(compress(wrapped[wrap], wanted))
            if count and not offer(session, data, count):
                overflowed.append(session)
    return overflowed


def _wants(session: Session, topic: str, partition: int, event: Event) -> bool:
    """Whether `session`, which follows `topic`, is to be sent this of what is for it."""
    return (session.types is None or session.types.admits(event.type)) and (
        session.floors is None or event.offset >= session.floors.get(topic, {}).get(partition, 0)
    )


def _matches(interest: Interest, event: Event) -> list[tuple[bytes, Collection[Session]]]:
    """The addresses of `event` that somebody here follows, in the order in which they count."""
    found: list[tuple[bytes, Collection[Session]]] = [
        (wire.TO_CONNECTION, (session,))
        for name in event.connections
        if (session := interest.connections.get(name))
    ]
    found += [
        (wire.TO_ACCOUNT, sessions)
        for name in event.accounts
        if (sessions := interest.accounts.get(name))
    ]
    found += [
        (wire.to_room(name), sessions)
        for name in event.rooms
        if (sessions := interest.rooms.get(name))
    ]
    if event.all and interest.everybody:
        found.append((wire.TO_ALL, interest.everybody))
    return found


def reason(session: Session, event: Event) -> bytes | None:
    """Why `event` is for `session`, as `to` says it; None where it is not, or not of its types."""
    if session.types is not None and not session.types.admits(event.type):
        return None
    if session.id in event.connections:
        return wire.TO_CONNECTION
    if session.grant.account is not None and session.grant.account in event.accounts:
        return wire.TO_ACCOUNT
    for room in event.rooms:
        if room in session.rooms:
            return wire.to_room(room)
    return wire.TO_ALL if event.all else None
