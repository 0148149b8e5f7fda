"""Reads request bodies with a size limit, and decodes them.

Rule: invalid JSON is a 400. JSON of the wrong form is a 422 that names the field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from fastapi import HTTPException
from starlette.requests import ClientDisconnect

from bridge.core.protocol.envelope import is_valid_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

_Body = TypeVar("_Body")


class InvalidJson(ValueError):
    """The body is not JSON."""


class InvalidField(ValueError):
    """The body is JSON of the wrong form. The message names the field."""


def decode(body: bytes, decoder: Callable[[bytes], _Body]) -> _Body:
    """Decode `body` with a decoder of msgspec.

    Raises:
        InvalidJson: If it is not JSON.
        InvalidField: If a field is wrong.
    """
    if not is_valid_json(body):
        raise InvalidJson("the body is not JSON")
    try:
        return decoder(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidField(re.sub(" - at `\\$\\.?(.+)`$", r": \1", str(error))) from None


def parse_body(body: bytes, parse: Callable[[bytes], _Body]) -> _Body:
    """Parse `body`, with errors as HTTP statuses.

    Raises:
        HTTPException: 400 if it is not JSON, 422 if a field is wrong.
    """
    try:
        return parse(body)
    except InvalidJson as error:
        raise HTTPException(400, str(error)) from None
    except InvalidField as error:
        raise HTTPException(422, str(error)) from None


async def read_body(request: Request, max_bytes: int, too_large_message: str) -> bytes:
    """Return the body of `request`.

    Raises:
        HTTPException: 413 with the detail `too_large_message` if it exceeds `max_bytes`; 400 if
            it ends early.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise HTTPException(413, too_large_message)
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)
