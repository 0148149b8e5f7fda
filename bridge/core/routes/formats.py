"""Formats: what the bytes of a value or a key are, as JSON.

Rule: a format opens bytes or raises `InvalidRecord`, whose detail has no values. What a topic's
records are for is not decided here.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from bridge.core.protocol.envelope import is_valid_json
from bridge.core.protocol.event import Body, InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Callable

#: The JSON of a value may have this many times the bytes that a record's value may have.
MAX_JSON_GROWTH: Final = 4
_LONGEST_ESCAPE: Final = 6  # \u001f
_find_escaped: Final = re.compile(rb'[\x00-\x1f"\\]').finditer
_SHORT_ESCAPES: Final = frozenset(b'\b\t\n\f\r"\\')
_MAX_INT_BYTES: Final = 8
_encode: Final = msgspec.json.encode


class Format(Protocol):
    """Opens the bytes of a value or of a key. One object per topic and side."""

    @property
    def needs_schema(self) -> bool:
        """Whether `missing_schema` can return anything but None."""

    def open(self, raw: bytes) -> Any:  # noqa: ANN401 - any JSON
        """Return JSON as Python objects. Any part may be `Raw`: JSON text, checked, not decoded.

        Raises:
            InvalidRecord: If the bytes are not of this format.
        """

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        """Return an event's data, and what it is, if nothing needs to open the value.

        Raises:
            InvalidRecord: If the bytes are not of this format, or their JSON is too large.
        """

    def missing_schema(self, raw: bytes) -> int | None:
        """Return the id of a schema that must be fetched before `open` and `data`, if any."""


class JsonFormat:
    """JSON in UTF-8. As data, anything else passes as base64."""

    needs_schema: Final = False

    def open(self, raw: bytes) -> msgspec.Raw:
        """Return the text, checked."""
        if not is_valid_json(raw):
            raise InvalidRecord("bad_json", "the bytes are not JSON in UTF-8")
        return msgspec.Raw(raw.strip(b" \t\r\n"))

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        """Return the value itself, which is checked before its first delivery."""
        return Body.UNCHECKED, raw

    def missing_schema(self, raw: bytes) -> None:
        """There are no schemas."""


class TextFormat:
    """UTF-8 text: one JSON string."""

    needs_schema: Final = False

    def __init__(self, max_json_bytes: int) -> None:
        self._max_json_bytes = max_json_bytes

    def open(self, raw: bytes) -> str:
        """Return the text."""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InvalidRecord("bad_value", "the bytes are not UTF-8 text") from None

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        """Return a JSON string."""
        text = self.open(raw)
        if len(raw) * _LONGEST_ESCAPE + 2 > self._max_json_bytes:
            check_json_size(_string_size(raw), self._max_json_bytes)
        return Body.JSON, _encode(text)

    def missing_schema(self, raw: bytes) -> None:
        """There are no schemas."""


class BytesFormat:
    """Any bytes. They are data only, as base64; no template can open them."""

    needs_schema: Final = False

    def open(self, raw: bytes) -> Any:  # noqa: ANN401, ARG002 - as in Format
        """Raise InvalidRecord: the settings refuse templates that need this."""
        raise InvalidRecord("bad_value", "a value in the format bytes cannot be opened")

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        """Return base64."""
        return Body.BASE64, b64encode(raw)

    def missing_schema(self, raw: bytes) -> None:
        """There are no schemas."""


class IntFormat:
    """A signed big-endian integer of 1 to 8 bytes. Keys only."""

    needs_schema: Final = False

    def open(self, raw: bytes) -> int:
        """Return the number."""
        if not 0 < len(raw) <= _MAX_INT_BYTES:
            raise InvalidRecord("bad_value", f"an integer has 1 to 8 bytes, not {len(raw)}")
        return int.from_bytes(raw, signed=True)

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        """Return the number's digits."""
        return Body.JSON, b"%d" % self.open(raw)

    def missing_schema(self, raw: bytes) -> None:
        """There are no schemas."""


def check_json_size(size_bytes: int, max_bytes: int) -> None:
    """Raise InvalidRecord (`too_large`) if a value's JSON would be too large."""
    if size_bytes > max_bytes:
        raise InvalidRecord(
            "too_large", f"the value's JSON would have {size_bytes} bytes, more than {max_bytes}"
        )


def _string_size(raw: bytes) -> int:
    escapes = (2 if match[0][0] in _SHORT_ESCAPES else 6 for match in _find_escaped(raw))
    return len(raw) + 2 + sum(size - 1 for size in escapes)


#: By name: makes the format of a value; the argument is the most bytes that its JSON may have.
FORMATS: Final[dict[str, Callable[[int], Format]]] = {
    "json": lambda _: JsonFormat(),
    "text": TextFormat,
    "bytes": lambda _: BytesFormat(),
}
#: By name: makes the format of a key. Keys have the formats of values too.
KEY_FORMATS: Final[dict[str, Callable[[int], Format]]] = {**FORMATS, "int": lambda _: IntFormat()}
