"""Server-Sent Events as text (WHATWG HTML, section 9.2): what a frame looks like on a stream.

Rules: a frame is one `data:` line, so no producer's line end can break it. A cursor stands in a
block of its own, behind the frames that it covers: a block without data dispatches nothing, and
sets the last event ID all the same (9.2.6, "dispatch the event", steps 1 and 2).
"""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.core.protocol.close_codes import FIRST_FINAL_CODE
from bridge.core.protocol.frames import Closing

MEDIA_TYPE: Final = "text/event-stream"
#: Nothing is dispatched for it, and proxies see that something comes (9.2.7).
COMMENT: Final = b":\n"
#: The `id` that a close for good leaves behind begins with this; no cursor does.
FINAL_ID_PREFIX: Final = "final:"

_EVENT_PREFIX: Final = b'{"op":"event"'
_CLOSING_PREFIX: Final = b'{"op":"closing"'
_OP_START: Final = len(b'{"op":"')
# In JSON they are blanks between tokens wherever they stand: within a text they are escaped.
_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_decode_closing: Final = msgspec.json.Decoder(Closing).decode


def encode_frame(frame: bytes) -> bytes:
    """Return the block of one frame; behind a `closing` stands what to come back with, or not."""
    if b"\n" in frame or b"\r" in frame:
        frame = frame.translate(_LINE_ENDS_TO_SPACES)
    if frame.startswith(_EVENT_PREFIX):
        return b"event: event\ndata: %b\n\n" % frame
    op = frame[_OP_START : frame.index(b'"', _OP_START)]
    block = b"event: %b\ndata: %b\n\n" % (op, frame)
    return block + _encode_reconnect(frame) if frame.startswith(_CLOSING_PREFIX) else block


def encode_cursor(cursor: str) -> bytes:
    """Return the block that says up to where everything has been told."""
    return b"id: %b\n\n" % cursor.encode()


def encode_retry(seconds: float) -> bytes:
    """Return the block that says when to come back after the end, whatever it was."""
    return b"retry: %d\n\n" % int(seconds * 1000)


def _encode_reconnect(frame: bytes) -> bytes:
    """What makes an `EventSource`, which comes back by itself, do what `closing` advises.

    One that is not to come back carries the end with it, and is answered 204 wherever it comes.
    """
    closing = _decode_closing(frame)
    if closing.code >= FIRST_FINAL_CODE:
        return encode_cursor(f"{FINAL_ID_PREFIX}{closing.code}") + encode_retry(0.0)
    cursor_block = b"" if closing.cursor is None else encode_cursor(closing.cursor)
    return cursor_block + encode_retry(closing.retry_after)
