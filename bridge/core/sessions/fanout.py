"""Events to the sessions that they are for.

Rule: a session gets an event if it follows the topic, is in the audience and admits the type;
once, however many of its addresses match; and the first match, of connection, account, the
record's rooms in their order, and all, is why. The frame is built once per address, and what
follows each other for one audience is joined once, too.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol import frames
from bridge.core.protocol import frames as protocol_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bridge.core.protocol.event import Event
    from bridge.core.sessions.registry import Interest
    from bridge.core.sessions.session import Session

_MOST_BYTES: Final = 4 << 20


class Frames:
    """Makes frames of the events in the journal."""

    def __init__(self) -> None:
        # By the number of the segment, not by itself: that would be kept in memory with it.
        self._kept: dict[tuple[int, int, str, Callable[[bytes], bytes]], bytes] = {}
        self._bytes = 0

    def make(
        self,
        topic: str,
        partition: int,
        place: tuple[int, int],
        event: Event,
        to: str,
        wrap: Callable[[bytes], bytes],
    ) -> bytes:
        """Return the frame of `event`, for those who get it for `to`.

        `place` is where it stands in the journal: the serial of its segment, and its number there.
        """
        key = (*place, to, wrap)
        frame = self._kept.get(key)
        if frame is None:
            frame = wrap(frames.event_frame(topic, partition, event).text(to))
            if to not in {frames.TO_CONNECTION, frames.TO_ACCOUNT}:
                if self._bytes > _MOST_BYTES:
                    self._kept.clear()
                    self._bytes = 0
                self._kept[key] = frame
                self._bytes += len(frame)
        return frame


#: What a frame has beside its event's data, about.
_HEAD_BYTES: Final = 200
_RUN_BYTES: Final = 64 * 1024
_SHARE: Final = 16


def run_bytes(ceiling: int) -> int:
    """Return the bytes of frames that are queued together in outboxes with this ceiling."""
    return min(_RUN_BYTES, ceiling // _SHARE)


class Run(NamedTuple):
    """Consecutive events for one audience, and who of it is here.

    `matches` are the addresses that somebody here follows, in the order in which they count, each
    with what `to` says and its sessions.
    """

    events: list[Event]
    matches: list[tuple[str, Collection[Session]]]


def runs(interest: Interest, events: Iterable[Event], most_bytes: int) -> Iterator[Run]:
    """Yield the events that somebody here follows.

    A run has about `most_bytes` of frames at most, or one event.
    """
    run: Run | None = None
    size = 0
    for event in events:
        if run is not None:
            if size < most_bytes and _are_alike(run.events[0], event):
                run.events.append(event)
                size += _HEAD_BYTES + len(event.data)
                continue
            yield run
            run = None
        if matches := _matches(interest, event):
            run = Run([event], matches)
            size = _HEAD_BYTES + len(event.data)
    if run is not None:
        yield run


def _are_alike(one: Event, other: Event) -> bool:
    return (
        one.rooms == other.rooms
        and one.accounts == other.accounts
        and one.connections == other.connections
        and one.all == other.all
    )


def deliver(
    run: Run,
    topic: str,
    partition: int,
    offer: Callable[[Session, bytes, int], bool],
) -> list[Session]:
    """Offer the events of `run` to their sessions; return those that did not take them.

    `offer` is told the frames, joined, and of how many events they are.
    """
    events, matches = run
    frames = [protocol_frames.event_frame(topic, partition, event) for event in events]
    reached: set[Session] | None = set() if len(matches) > 1 else None
    overflowed: list[Session] = []
    for to, sessions in matches:
        made: dict[object, bytes] = {}  # by kind of socket, and which of the frames
        for session in sessions:
            if topic not in session.topics:
                continue
            if reached is not None:
                if session in reached:
                    continue
                reached.add(session)
            wrap = session.wrap
            if session.types is None and session.floors is None:
                count, data = len(frames), made.get(wrap)
                if data is None:
                    data = made[wrap] = _join(frames, to, wrap)
            else:
                wanted = tuple([_wants(session, topic, partition, event) for event in events])
                count, data = sum(wanted), made.get((wrap, wanted))
                if data is None:
                    data = made[wrap, wanted] = _join([*compress(frames, wanted)], to, wrap)
            if count and not offer(session, data, count):
                overflowed.append(session)
    return overflowed


def _join(
    frames: Sequence[protocol_frames.EventFrame], to: str, wrap: Callable[[bytes], bytes]
) -> bytes:
    if len(frames) == 1:  # what is for an account is most often alone
        return wrap(frames[0].text(to))
    return b"".join([wrap(frame.text(to)) for frame in frames])


def _wants(session: Session, topic: str, partition: int, event: Event) -> bool:
    """Whether `session`, which follows `topic`, is to be sent this of what is for it."""
    return (session.types is None or session.types.admits(event.type)) and (
        session.floors is None or event.offset >= session.floors.get(topic, {}).get(partition, 0)
    )


def _matches(interest: Interest, event: Event) -> list[tuple[str, Collection[Session]]]:
    found: list[tuple[str, Collection[Session]]] = []
    # A comprehension would be a call of its own (3.11), and most events are for nobody here.
    # ruff: disable[PERF401]
    for name in event.connections:
        if session := interest.connections.get(name):
            found.append((protocol_frames.TO_CONNECTION, (session,)))
    for name in event.accounts:
        if sessions := interest.accounts.get(name):
            found.append((protocol_frames.TO_ACCOUNT, sessions))
    for name in event.rooms:
        if sessions := interest.rooms.get(name):
            found.append((protocol_frames.to_room(name), sessions))
    # ruff: enable[PERF401]
    if event.all and interest.everybody:
        found.append((protocol_frames.TO_ALL, interest.everybody))
    return found


def reason(session: Session, event: Event) -> str | None:
    """Why `event` is for `session`, as `to` says it; None where it is not, or not of its types."""
    if session.types is not None and not session.types.admits(event.type):
        return None
    if session.id in event.connections:
        return protocol_frames.TO_CONNECTION
    if session.grant.account is not None and session.grant.account in event.accounts:
        return protocol_frames.TO_ACCOUNT
    for room in event.rooms:
        if room in session.rooms:
            return protocol_frames.to_room(room)
    return protocol_frames.TO_ALL if event.all else None
