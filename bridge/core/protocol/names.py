"""Validation of the names of topics, accounts and rooms; which names are like a mistyped one.

Rule: 1 to 200 bytes of UTF-8 without control characters, `,` or `*`. A comma would split a list,
a star would be a pattern. A control character could forge a log line: Unicode's line separators
and those that change the direction of writing could, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from heapq import nsmallest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAME_BYTES: Final = 200
# Shorter names cannot exceed MAX_NAME_BYTES: a character has at most four bytes in UTF-8.
_ALWAYS_SHORT_CHARACTERS: Final = MAX_NAME_BYTES // 4
_CONTROLS: Final = "\x00-\x1f\x7f-\x9f"
_SEPARATORS_AND_DIRECTIONS: Final = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_SURROGATES: Final = "\ud800-\udfff"
_match_name: Final = re.compile(
    f"[^{_CONTROLS}{_SEPARATORS_AND_DIRECTIONS}{_SURROGATES},*]+"
).fullmatch
# Kafka's own rule (org.apache.kafka.common.internals.Topic), with 200 instead of 249 characters.
_match_topic: Final = re.compile(r"[a-zA-Z0-9._-]{1,200}").fullmatch


def is_valid_name(text: str) -> bool:
    """True if `text` may name an account, a room or a connection."""
    if text.isascii() and text.isprintable():  # nearly all names, in a third of the time
        return 0 < len(text) <= MAX_NAME_BYTES and "," not in text and "*" not in text
    return _match_name(text) is not None and (
        len(text) <= _ALWAYS_SHORT_CHARACTERS or len(text.encode()) <= MAX_NAME_BYTES
    )


def is_valid_topic(text: str) -> bool:
    """True if Kafka would accept `text` as a topic, and it has at most 200 characters."""
    return _match_topic(text) is not None and text not in {".", ".."}


def nearest_names(name: str, candidates: Iterable[str], max_count: int) -> list[str]:
    """Return up to `max_count` of the candidates, those most like `name` first.

    An edit distance would cost a client's request milliseconds. Letters and pairs of letters cost
    1 microsecond per candidate, and find what was mistyped too.
    """
    features = _features.__wrapped__(name)  # a client's text: not worth keeping

    def distance(candidate: str) -> tuple[int, str]:
        return len(features ^ _features(candidate)), candidate

    return nsmallest(max_count, candidates, key=distance)


@lru_cache(maxsize=4096)
def _features(name: str) -> frozenset[tuple[str, int] | str]:
    """Return the letters of `name`, numbered where one occurs again, and its pairs of letters."""
    text = name.lower()
    letters = [(letter, text[:index].count(letter)) for index, letter in enumerate(text)]
    return frozenset([*letters, *(text[index : index + 2] for index in range(len(text) - 1))])
