"""What topics, accounts and rooms may be called.

Rule: 1 to 200 bytes of UTF-8 without control characters, `,` or `*`. A comma would split a list,
a star would be a pattern, a control character would forge a log line.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_BYTES: Final = 200
# No name of at most this many characters can be longer than MAX_BYTES (UTF-8 takes up to four).
_ALWAYS_SHORT_CHARACTERS: Final = MAX_NAME_BYTES // 4
_match_name: Final = re.compile("[^\x00-\x1f\x7f-\x9f,*\ud800-\udfff]+").fullmatch
# Kafka's own rule (org.apache.kafka.common.internals.Topic), less its limit of 249.
_match_topic: Final = re.compile(r"[a-zA-Z0-9._-]{1,200}").fullmatch


def is_valid_name(text: str) -> bool:
    """Whether `text` may name an account or a room."""
    if text.isascii() and text.isprintable():  # nearly all of them, in a third of the time
        return 0 < len(text) <= MAX_NAME_BYTES and "," not in text and "*" not in text
    return _match_name(text) is not None and (
        len(text) <= _ALWAYS_SHORT_CHARACTERS or len(text.encode()) <= MAX_NAME_BYTES
    )


def is_valid_topic(text: str) -> bool:
    """Whether `text` may name a topic."""
    return _match_topic(text) is not None and text not in {".", ".."}
