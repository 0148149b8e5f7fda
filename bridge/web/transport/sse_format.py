"""Encodes frames as Server-Sent Events (WHATWG HTML, section 9.2).

Rule: a frame is one `data:` line, so a producer's line end cannot break it. A cursor follows in its
own block: without data it dispatches nothing, but sets the last event ID (9.2.6, steps 1 and 2).
"""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.core.protocol.close_codes import FIRST_FINAL_CODE
from bridge.core.protocol.frames import Closing

MEDIA_TYPE: Final = "text/event-stream"
#: It dispatches nothing, but proxies see traffic (9.2.7).
COMMENT: Final = b":\n"
#: Prefix of the `id` after a final close. No cursor starts with it.
FINAL_ID_PREFIX: Final = "final:"

_EVENT_PREFIX: Final = b'{"op":"event"'
_CLOSING_PREFIX: Final = b'{"op":"closing"'
_OP_START: Final = len(b'{"op":"')
# In JSON, raw line ends occur between tokens only: inside a string they are escaped.
_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_decode_closing: Final = msgspec.json.Decoder(Closing).decode


def encode_frame(frame: bytes) -> bytes:
    """Return the block of one frame; after `closing` follows whether and when to reconnect."""
    if b"\n" in frame or b"\r" in frame:
        frame = frame.translate(_LINE_ENDS_TO_SPACES)
    if frame.startswith(_EVENT_PREFIX):
        return b"event: event\ndata: %b\n\n" % frame
    op = frame[_OP_START : frame.index(b'"', _OP_START)]
    block = b"event: %b\ndata: %b\n\n" % (op, frame)
    return block + _encode_reconnect(frame) if frame.startswith(_CLOSING_PREFIX) else block


def encode_cursor(cursor: str) -> bytes:
    """Return the block that sets the last event ID to `cursor`."""
    return b"id: %b\n\n" % cursor.encode()


def encode_retry(seconds: float) -> bytes:
    """Return the block that sets the delay before a reconnect."""
    return b"retry: %d\n\n" % int(seconds * 1000)


def _encode_reconnect(frame: bytes) -> bytes:
    """Return the blocks that make an `EventSource` do what `closing` advises.

    After a final close its last event ID marks the end. Any instance answers it with 204.
    """
    closing = _decode_closing(frame)
    if closing.code >= FIRST_FINAL_CODE:
        return encode_cursor(f"{FINAL_ID_PREFIX}{closing.code}") + encode_retry(0.0)
    cursor_block = b"" if closing.cursor is None else encode_cursor(closing.cursor)
    return cursor_block + encode_retry(closing.retry_after)
