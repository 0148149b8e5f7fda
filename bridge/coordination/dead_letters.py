"""Dead letters: records that could not be used, kept until they are known to be written.

Rule: every instance that reads a dead record keeps its letter, in bounded memory; the one on duty
writes it, and the offsets that it commits tell all others that it has.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.client.client import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.envelope import Casualty

_log = logging.getLogger(__name__)

MINUTE = 60.0


class Casualties:
    """Records that could not be used: counted by reason, logged once per reason and minute."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self._logged: dict[str, float] = {}

    def count(self, casualty: Casualty) -> None:
        """Count one; payloads are never logged."""
        topic, partition, record, dead = casualty
        self.by_reason[dead.reason] += 1
        now = time.monotonic()
        if now - self._logged.get(dead.reason, float("-inf")) >= MINUTE:
            self._logged[dead.reason] = now
            _log.warning(
                "%s: %s:%d:%d can not be used: %s (%d so far; said once a minute)",
                dead.reason,
                topic,
                partition,
                record.offset,
                dead,
                self.by_reason[dead.reason],
            )


#: What is kept at most, in bytes.
MOST_BYTES: Final = 32 << 20


class Letter(NamedTuple):
    """A record that could not be used, as it is written to the dead letters."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def size(self) -> int:
        """Its bytes, about."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return 200 + len(self.key or b"") + len(self.value or b"") + headers


def letter(casualty: Casualty, topic: str) -> Letter:
    """Return the letter about a record of `topic`, as Kafka calls it."""
    record = casualty.record
    told = {
        "dead-reason": casualty.dead.reason,
        "dead-topic": topic,
        "dead-partition": str(casualty.partition),
        "dead-offset": str(record.offset),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in told.items())]
    partition = Partition(topic, casualty.partition)
    return Letter(partition, record.offset, record.key, record.value, headers)


class Letters:
    """Those that are not known to be written, the oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Letter] = deque()
        self._bytes = 0
        self._written: dict[Partition, int] = {}  # the next offset of each
        self.lost = 0  #: for which there was no room

    def keep(self, letter: Letter) -> None:
        """Keep a letter until it is known to be written."""
        if letter.offset < self._written.get(letter.partition, 0):
            return
        self._waiting.append(letter)
        self._bytes += letter.size
        while self._bytes > MOST_BYTES:
            self._bytes -= self._waiting.popleft().size
            self.lost += 1

    def next(self, count: int) -> list[Letter]:
        """Return the next letters to be written, no more than `count`."""
        return list(islice(self._waiting, max(0, count)))

    def written(self, offsets: Mapping[Partition, int]) -> None:
        """Say that what is below these offsets was written."""
        for partition, offset in offsets.items():
            self._written[partition] = max(offset, self._written.get(partition, 0))
        self._forget()

    def known(self, offsets: Mapping[Partition, int]) -> None:
        """Say up to where letters of all partitions were written; of any other none was."""
        self._written = dict(offsets)  # a topic that is created anew begins at its beginning
        self._forget()

    def _forget(self) -> None:
        left = [x for x in self._waiting if x.offset >= self._written.get(x.partition, 0)]
        if len(left) < len(self._waiting):
            self._waiting = deque(left)
            self._bytes = sum(letter.size for letter in left)

    def cut(self, letters: Sequence[Letter]) -> None:
        """Let the largest of these be written without its value: Kafka does not take it whole.

        One that has none any more is lost.
        """
        largest = max(letters, key=lambda letter: letter.size)
        for place, letter in enumerate(self._waiting):
            if letter is largest:
                self._bytes -= letter.size
                if letter.value:
                    cut = [*letter.headers, ("dead-value-bytes", b"%d" % len(letter.value))]
                    self._waiting[place] = letter._replace(value=None, headers=cut)
                    self._bytes += self._waiting[place].size
                else:
                    del self._waiting[place]
                    self.lost += 1
                return


class Burial:
    """Takes the dead of `sources`: Kafka's topics, mapped to the public names."""

    def __init__(
        self, casualties: Casualties, letters: Letters, sources: Mapping[str, Sequence[str]]
    ) -> None:
        self.casualties = casualties
        self.letters = letters
        self._topics = {names[0]: topic for topic, names in sources.items()}
        self._more = {name for names in sources.values() for name in names[1:]}

    def bury(self, casualty: Casualty) -> None:
        """Count it, and keep a letter about it."""
        if casualty.topic not in self._more:
            self.casualties.count(casualty)
            self.letters.keep(letter(casualty, self._topics.get(casualty.topic, casualty.topic)))
