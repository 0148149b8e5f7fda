"""Encodes frames as Server-Sent Events (WHATWG HTML, section 9.2).

Rule: a frame is one `data:` line, so a producer's line end cannot break it. No block is without
data: popular readers hand on an empty event, or fail. `id` and `retry` stand in a frame's block.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.core.protocol.close_codes import FIRST_FINAL_CODE
from bridge.core.protocol.frames import Closing

MEDIA_TYPE: Final = "text/event-stream"
#: It dispatches nothing, but proxies see traffic (9.2.7).
COMMENT: Final = b":\n"
#: A line is added to a block before this.
BLOCK_END: Final = b"\n"
#: Prefix of the `id` after a final close. No cursor starts with it.
FINAL_ID_PREFIX: Final = "final:"

_HEARTBEAT_START: Final = b"event: heartbeat\n"
_EVENT_PREFIX: Final = b'{"op":"event"'
_CLOSING_PREFIX: Final = b'{"op":"closing"'
_OP_START: Final = len(b'{"op":"')
# In JSON, raw line ends occur between tokens only: inside a string they are escaped.
_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")
_decode_closing: Final = msgspec.json.Decoder(Closing).decode


def encode_frame(frame: bytes) -> bytes:
    """Return the block of one frame; that of `closing` says whether and when to reconnect."""
    if b"\n" in frame or b"\r" in frame:
        frame = frame.translate(_LINE_ENDS_TO_SPACES)
    if frame.startswith(_EVENT_PREFIX):
        return b"event: event\ndata: %b\n\n" % frame
    op = frame[_OP_START : frame.index(b'"', _OP_START)]
    advice = _encode_advice(frame) if frame.startswith(_CLOSING_PREFIX) else b""
    return b"event: %b\ndata: %b\n%b\n" % (op, frame, advice)


def encode_id(cursor: str) -> bytes:
    """Return the line that sets the last event ID to `cursor`."""
    return b"id: %b\n" % cursor.encode()


def encode_retry(seconds: float) -> bytes:
    """Return the line that sets the delay before a reconnect. A frame's block follows."""
    return b"retry: %d\n" % int(seconds * 1000)


def is_heartbeat(block: bytes | memoryview) -> bool:
    """Whether `block` carries a heartbeat."""
    return block[: len(_HEARTBEAT_START)] == _HEARTBEAT_START


def _encode_advice(frame: bytes) -> bytes:
    """Return the lines that make an `EventSource` do what `closing` advises.

    After a final close its last event ID marks the end. Any instance answers it with 204.
    """
    closing = _decode_closing(frame)
    if closing.code >= FIRST_FINAL_CODE:
        return encode_id(f"{FINAL_ID_PREFIX}{closing.code}") + encode_retry(0.0)
    id_line = b"" if closing.cursor is None else encode_id(closing.cursor)
    return id_line + encode_retry(closing.retry_after)
