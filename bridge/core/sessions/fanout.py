"""Delivers events to the sessions in their audience.

Rule: a session receives an event once, if it follows the topic, is in the audience and its filter
matches the type. `to` is its first match: connection, account, rooms in the record's order, all.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bridge.core.protocol.event import Event
    from bridge.core.sessions.registry import SubscriptionIndex
    from bridge.core.sessions.session import Session

#: Frames that `FrameCache` keeps.
_MAX_CACHE_BYTES: Final = 4 << 20

#: Approximate bytes of a frame without the event's data.
_FRAME_OVERHEAD_BYTES: Final = 200
_MAX_GROUP_BYTES: Final = 64 * 1024
_MIN_GROUPS_PER_OUTBOX: Final = 16


def group_max_bytes(max_outbox_bytes: int) -> int:
    """Return the bytes of frames that are queued as one, for outboxes of `max_outbox_bytes`."""
    return min(_MAX_GROUP_BYTES, max_outbox_bytes // _MIN_GROUPS_PER_OUTBOX)


class EventGroup(NamedTuple):
    """Consecutive events with one audience, and the sessions of this audience.

    `matches` has the addresses that have sessions here, as their `to` and these sessions, in order
    of precedence.
    """

    events: list[Event]
    matches: list[tuple[str, Collection[Session]]]


def group_by_audience(
    subscriptions: SubscriptionIndex, events: Iterable[Event], max_bytes: int
) -> Iterator[EventGroup]:
    """Yield groups of the events that have a session in their audience; skip all other events.

    A group is one event, or has about `max_bytes` of frames: it is encoded and queued as one.
    """
    group: EventGroup | None = None
    size_bytes = 0
    for event in events:
        if group is not None:
            if size_bytes < max_bytes and _have_same_audience(group.events[0], event):
                group.events.append(event)
                size_bytes += _FRAME_OVERHEAD_BYTES + len(event.data)
                continue
            yield group
            group = None
        if matches := _find_matches(subscriptions, event):
            group = EventGroup([event], matches)
            size_bytes = _FRAME_OVERHEAD_BYTES + len(event.data)
    if group is not None:
        yield group


def _find_matches(
    subscriptions: SubscriptionIndex, event: Event
) -> list[tuple[str, Collection[Session]]]:
    matches: list[tuple[str, Collection[Session]]] = []
    # A comprehension is a call of its own (3.11), and most events have no session here.
    # ruff: disable[PERF401]
    for name in event.connections:
        if session := subscriptions.by_connection.get(name):
            matches.append((frames.TO_CONNECTION, (session,)))
    for name in event.accounts:
        if sessions := subscriptions.by_account.get(name):
            matches.append((frames.TO_ACCOUNT, sessions))
    for name in event.rooms:
        if sessions := subscriptions.by_room.get(name):
            matches.append((frames.to_for_room(name), sessions))
    # ruff: enable[PERF401]
    if event.all and subscriptions.all_sessions:
        matches.append((frames.TO_ALL, subscriptions.all_sessions))
    return matches


def _have_same_audience(first: Event, second: Event) -> bool:
    return (
        first.rooms == second.rooms
        and first.accounts == second.accounts
        and first.connections == second.connections
        and first.all == second.all
    )


def deliver(
    group: EventGroup,
    topic: str,
    partition: int,
    enqueue: Callable[[Session, bytes, int], bool],
) -> list[Session]:
    """Queue the events of `group` for its sessions; return the sessions that had no room.

    `enqueue(session, data, count)` queues the joined frames of `count` events, and returns False
    if there is no room. Frames are encoded once for each `to` and kind of socket, not per session.
    """
    events, matches = group
    event_frames = [frames.build_event_frame(topic, partition, event) for event in events]
    delivered_to: set[Session] | None = set() if len(matches) > 1 else None
    overflowed: list[Session] = []
    for to, sessions in matches:
        encoded_frames: dict[object, bytes] = {}  # by kind of socket and selected events
        for session in sessions:
            if topic not in session.topics:
                continue
            if delivered_to is not None:
                if session in delivered_to:
                    continue
                delivered_to.add(session)
            wrap_frame = session.wrap_frame
            if session.type_filter is None and session.min_offsets is None:
                count, data = len(event_frames), encoded_frames.get(wrap_frame)
                if data is None:
                    data = encoded_frames[wrap_frame] = _encode_frames(event_frames, to, wrap_frame)
            else:
                selected = tuple(
                    [_should_send(session, topic, partition, event) for event in events]
                )
                count, data = sum(selected), encoded_frames.get((wrap_frame, selected))
                if data is None:
                    data = encoded_frames[wrap_frame, selected] = _encode_frames(
                        [*compress(event_frames, selected)], to, wrap_frame
                    )
            if count and not enqueue(session, data, count):
                overflowed.append(session)
    return overflowed


def _encode_frames(
    event_frames: Sequence[frames.EventFrame], to: str, wrap_frame: Callable[[bytes], bytes]
) -> bytes:
    if len(event_frames) == 1:  # events for an account rarely follow each other
        return wrap_frame(event_frames[0].encode(to))
    return b"".join([wrap_frame(frame.encode(to)) for frame in event_frames])


def _should_send(session: Session, topic: str, partition: int, event: Event) -> bool:
    """True unless the session's type filter excludes `event`, or it was sent this offset before."""
    return (session.type_filter is None or session.type_filter.matches(event.type)) and (
        session.min_offsets is None
        or event.offset >= session.min_offsets.get(topic, {}).get(partition, 0)
    )


def match_reason(session: Session, event: Event) -> str | None:
    """Return the `to` of `event` for `session`; None if it must not receive the event.

    Ignores the session's topics and positions.
    """
    if session.type_filter is not None and not session.type_filter.matches(event.type):
        return None
    if session.id in event.connections:
        return frames.TO_CONNECTION
    if session.permissions.account is not None and session.permissions.account in event.accounts:
        return frames.TO_ACCOUNT
    for room in event.rooms:
        if room in session.rooms:
            return frames.to_for_room(room)
    return frames.TO_ALL if event.all else None


class FrameCache:
    """Encoded frames of events in the journal, shared by replaying sessions.

    Frames for one connection or account are not kept: another session rarely needs them.
    """

    def __init__(self) -> None:
        # Keyed by the segment's serial. Keyed by the segment, it would keep its memory alive.
        self._frames: dict[tuple[int, int, str, Callable[[bytes], bytes]], bytes] = {}
        self._size_bytes = 0

    def get(
        self,
        topic: str,
        partition: int,
        journal_key: tuple[int, int],
        event: Event,
        to: str,
        wrap_frame: Callable[[bytes], bytes],
    ) -> bytes:
        """Return the frame of `event` for `to`, as bytes for the socket.

        `journal_key` identifies the event: its segment's serial, and its number in the segment.
        """
        key = (*journal_key, to, wrap_frame)
        frame = self._frames.get(key)
        if frame is None:
            frame = wrap_frame(frames.build_event_frame(topic, partition, event).encode(to))
            if to not in {frames.TO_CONNECTION, frames.TO_ACCOUNT}:
                if self._size_bytes > _MAX_CACHE_BYTES:
                    self._frames.clear()
                    self._size_bytes = 0
                self._frames[key] = frame
                self._size_bytes += len(frame)
        return frame
