"""One topic as this instance has read it: its identity, and the next offset of each partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import Place, pack_place

if TYPE_CHECKING:
    from collections.abc import Mapping


class Log:
    """What has been read of `topic`.

    Rule: `next` of a partition is moved only after everything below it has been handed to the
    sessions, so a cursor made of it covers exactly what they were sent.
    """

    __slots__ = ("_packed", "asleep", "identity", "next", "private", "topic")

    def __init__(self, topic: str, *, private: bool = False) -> None:
        self.topic = topic
        self.private = private
        self.asleep = False  #: whether it is read on demand, and nobody demands it
        self.identity = b""
        self.next: dict[int, int] = {}
        self._packed: bytes | None = None

    def move(self, partition: int, offset: int) -> None:
        """Say that `partition` has been read up to `offset`, which is the next."""
        self.next[partition] = offset
        self._packed = None

    def begin(self, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say that the topic of `identity` is read from `offsets`, whatever was before."""
        self.asleep = False
        self.identity = identity
        self.next = dict(offsets)
        self._packed = None

    def sleep(self, identity: bytes) -> None:
        """Say that the topic, which is of `identity` now, is not read until it is begun anew."""
        self.begin(identity, {})
        self.asleep = True

    @property
    def packed(self) -> bytes:
        """This topic's part of a cursor, made once between two moves."""
        if self._packed is None:
            self._packed = pack_place(self.topic, Place(self.identity, self.next))
        return self._packed

    def is_other(self, identity: bytes) -> bool:
        """Whether the topic was deleted and created again since it had this `identity`."""
        return bool(identity and self.identity) and identity != self.identity
