"""Trace context: how an event keeps the trace that its producer was in (W3C Trace Context, 3.2).

Rules: what is not valid is treated as absent, and so is what was said more than once; nothing is an
error. What is valid goes on as version 00, whose length is bounded, whatever a later one adds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: In Kafka and in HTTP, and the field of an event's frame.
HEADER: Final = "traceparent"
_SAMPLED: Final = 1
#: Version, ids, flags, and what only a later version may have.
_match: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
).fullmatch


def only(values: Sequence[bytes]) -> str | None:
    """Return the `traceparent` that `values` are, None where they are not just one that is valid.

    Of a later version it has what is known of it: the ids, and whether it is sampled (3.2.4).
    """
    found = _match(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    version, ids, flags, more = found.groups()
    if version != b"00":
        return f"00-{ids.decode()}-{int(flags, 16) & _SAMPLED:02x}"
    return None if more else found[0].decode()
