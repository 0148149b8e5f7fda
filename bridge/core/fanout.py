"""One event to the sessions that it is for.

Rule: a session gets an event if it follows the topic, is in the audience and admits the type;
once, however many of its addresses match; and the first match, of connection, account, the
record's rooms in their order, and all, is why. The frame is built once per address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bridge.core.event import Event
    from bridge.core.interest import Interest
    from bridge.core.session import Session


def deliver(
    interest: Interest,
    offer: Callable[[Session, bytes], bool],
    topic: str,
    partition: int,
    event: Event,
) -> list[Session]:
    """Offer `event` to its sessions; return those that did not take it."""
    matches = _matches(interest, event)
    if not matches:
        return []
    frame = wire.EventFrame(topic, partition, event)
    reached: set[Session] | None = set() if len(matches) > 1 else None
    overflowed: list[Session] = []
    for to, sessions in matches:
        wrapped: dict[Callable[[bytes], bytes], bytes] = {}
        for session in sessions:
            if not _wants(session, topic, partition, event):
                continue
            if reached is not None:
                if session in reached:
                    continue
                reached.add(session)
            data = wrapped.get(session.wrap)
            if data is None:
                data = wrapped[session.wrap] = session.wrap(frame.to(to))
            if not offer(session, data):
                overflowed.append(session)
    return overflowed


def _wants(session: Session, topic: str, partition: int, event: Event) -> bool:
    return (
        topic in session.topics
        and (session.types is None or session.types.admits(event.type))
        and (
            session.floors is None
            or event.offset >= session.floors.get(topic, {}).get(partition, 0)
        )
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
