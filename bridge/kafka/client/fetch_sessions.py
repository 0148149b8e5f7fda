"""Fetch sessions: a fetch names only the partitions that changed (KIP-227).

Rule: the broker's picture of a session and ours are the same, or a full fetch begins a new session.
Without sessions each fetch of a thousand quiet partitions names all of them, and so does each
response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping


class PartitionOfTopic(Protocol):
    """A partition, as a key of mappings."""

    @property
    def topic(self) -> str:
        """The topic's Kafka name."""

    def __hash__(self) -> int:
        """Return the hash of the topic and the number."""


P = TypeVar("P", bound=PartitionOfTopic)

#: Errors of a session that a full fetch mends: the broker dropped it, or counts another epoch, or
#: it mixes topic ids and names.
SESSION_ERRORS: Final = frozenset({70, 71, 106})

_NO_SESSION: Final = 0
_FULL_EPOCH: Final = 0  # the fetch names all partitions, and asks for a new session
_SESSIONLESS_EPOCH: Final = -1
_MAX_EPOCH: Final = 2**31 - 1


class FetchChanges(NamedTuple, Generic[P]):
    """What one fetch says of a session. `forgotten` are topics by id, or by name where None."""

    session_id: int
    epoch: int
    offsets: Mapping[P, int]  #: those that the request names
    forgotten: Iterable[tuple[P, uuid.UUID | None]] = ()


def without_session(offsets: Mapping[P, int]) -> FetchChanges[P]:
    """Return a fetch of `offsets` that begins no session."""
    return FetchChanges(_NO_SESSION, _SESSIONLESS_EPOCH, offsets)


class FetchSession(Generic[P]):
    """One reader's session with one broker. The reader fetches one request after another."""

    def __init__(self) -> None:
        self._id = _NO_SESSION
        self._epoch = _FULL_EPOCH
        self._next_epoch = 1
        #: What the broker knows of the session: the topic's id and the next offset.
        self._known: dict[P, tuple[uuid.UUID | None, int]] = {}

    @property
    def is_incremental(self) -> bool:
        """Whether the next fetch names changes only. The broker then orders the partitions."""
        return self._epoch != _FULL_EPOCH

    def begin_fetch(
        self, offsets: Mapping[P, int], topic_ids: Mapping[str, uuid.UUID | None]
    ) -> FetchChanges[P]:
        """Return what the next request says so that the broker reads `offsets`.

        Unless `accept` follows, the next fetch begins a new session: the request may be lost.
        """
        session_id, epoch, known = self._id, self._epoch, self._known
        self.reset()
        wanted = {p: (topic_ids.get(p.topic), offset) for p, offset in offsets.items()}
        self._known = wanted
        uses_names = None in (topic_id for topic_id, _ in wanted.values())
        if epoch == _FULL_EPOCH or uses_names != (None in (each for each, _ in known.values())):
            return FetchChanges(_NO_SESSION, _FULL_EPOCH, offsets)
        changed = {p: entry[1] for p, entry in wanted.items() if known.get(p) != entry}
        # A recreated topic has another id. The session has it twice unless the old one goes.
        forgotten = [
            (p, topic_id)
            for p, (topic_id, _) in known.items()
            if p not in wanted or wanted[p][0] != topic_id
        ]
        self._id, self._next_epoch = session_id, 1 if epoch == _MAX_EPOCH else epoch + 1
        return FetchChanges(session_id, epoch, changed, forgotten)

    def accept(self, session_id: int) -> None:
        """Continue the session: the broker answered without an error of the session.

        A broker without sessions, or without room for another one, answers with id 0.
        """
        self._id = session_id
        self._epoch = _FULL_EPOCH if session_id == _NO_SESSION else self._next_epoch

    def reset(self) -> None:
        """Forget the session. The next fetch begins a new one."""
        self._id, self._epoch, self._next_epoch = _NO_SESSION, _FULL_EPOCH, 1
        self._known = {}
