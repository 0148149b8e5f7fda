"""Publications as records that headers address: for topics that do not have native envelopes.

Rule: what is decoded again is what was published. A topic's format says what the value is.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from bridge.web.api.bodies import InvalidField

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Publication(Protocol):
    """An event to publish, as `publish.py` has it; absent fields are None or UNSET."""

    @property
    def accounts(self) -> Sequence[str] | None: ...
    @property
    def rooms(self) -> Sequence[str] | None: ...
    @property
    def connections(self) -> Sequence[str] | None: ...
    @property
    def all(self) -> bool | None: ...
    @property
    def meta(self) -> Any: ...  # noqa: ANN401 - Raw or UNSET
    @property
    def data(self) -> Any: ...  # noqa: ANN401


_NULL: Final = b"null"
_LISTS: Final = ("accounts", "rooms", "connections")


def encode_headers(publication: _Publication) -> list[tuple[str, bytes]]:
    """Return the `push-*` headers of `publication`."""
    texts: dict[str, str] = {}
    for field in _LISTS:
        if names := getattr(publication, field):
            texts[field] = ",".join(quote(name, safe="") for name in names)
    if publication.all:
        texts["all"] = "true"
    for field in ("id", "type", "time", "tag"):
        if (text := getattr(publication, field)) is not None:
            texts[field] = text
    headers = [(f"push-{field}", text.encode()) for field, text in texts.items()]
    if publication.meta is not UNSET:
        headers.append(("push-meta", bytes(publication.meta)))
    return headers


def encode_value(publication: _Publication, value_format: str) -> bytes:
    """Return the value: `data` in the topic's format.

    Raises:
        InvalidField: If the format cannot have it.
    """
    data = _NULL if publication.data is UNSET else bytes(publication.data)
    if value_format == "json":
        return data
    if value_format not in {"text", "bytes"}:
        raise InvalidField(f"topic: a value in the format {value_format} cannot be written here")
    try:
        text = msgspec.json.decode(data, type=str)
        return text.encode() if value_format == "text" else base64.b64decode(text, validate=True)
    except (msgspec.MsgspecError, UnicodeEncodeError, binascii.Error, ValueError):
        what = "text" if value_format == "text" else "text in base64"
        raise InvalidField(f"data: must be {what}: the topic's format is {value_format}") from None
