"""An event stream read as browsers read it, by the letter of WHATWG HTML, 9.2.5 and 9.2.6.

The rule kept here: it knows the standard and nothing of the bridge, so the two can disagree.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NamedTuple

#: "Lines must be separated by either CRLF, LF, or CR."
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class DispatchedEvent(NamedTuple):
    """What an `EventSource` gives to a page. `id` is its `lastEventId`."""

    type: str
    data: str
    id: str


class EventStreamParser:
    """The state of one `EventSource`, over as many connections as it makes."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.reconnection_ms: int | None = None
        self.comments: list[str] = []
        self.dispatched: list[DispatchedEvent] = []
        self.connect()

    def connect(self) -> None:
        """Begin to read a new connection: what the old one left unfinished is discarded."""
        # "Streams must be decoded using the UTF-8 decode algorithm", which strips one BOM.
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._has_text = False
        self._after_cr = False
        self._line = ""
        self._data = ""
        self._type = ""
        self._id = self.last_event_id

    def feed(self, received: bytes) -> list[DispatchedEvent]:
        """Take some bytes, cut anywhere; return what they let be dispatched."""
        before = len(self.dispatched)
        text = self._decode(received)
        if text and not self._has_text:
            self._has_text = True
            text = text.removeprefix("\ufeff")
        if text and self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")  # the CRLF was cut in two
        self._after_cr |= text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        for line in lines:
            self._process(self._line + line)
            self._line = ""
        self._line += rest
        return self.dispatched[before:]

    def _process(self, line: str) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line)
        else:
            field, _, value = line.partition(":")
            self._process_field(field, value.removeprefix(" "))

    def _process_field(self, field: str, value: str) -> None:
        match field:
            case "event":
                self._type = value
            case "data":
                self._data += value + "\n"
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value and value.isascii() and value.isdigit():
                self.reconnection_ms = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id  # step 1, data or not
        data, type = self._data.removesuffix("\n"), self._type or "message"
        if self._data:  # else step 2
            self.dispatched.append(DispatchedEvent(type, data, self.last_event_id))
        self._data = self._type = ""
