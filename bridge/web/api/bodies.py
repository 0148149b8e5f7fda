"""What is posted: taken in as far as it may be large, and read as what it has to be.

Rule: what is no JSON is a 400, and what is JSON of another form a 422 that names the field.
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
    """What was posted is no JSON."""


class InvalidField(ValueError):
    """What was posted is not what was asked for. The message names the field."""


def decode(body: bytes, decoder: Callable[[bytes], _Body]) -> _Body:
    """Return what `decoder`, which is msgspec's, makes of `body`.

    Raises:
        BadJson: If it is no JSON.
        WrongField: If a field is wrong.
    """
    if not is_valid_json(body):
        raise InvalidJson("the body is no JSON")
    try:
        return decoder(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidField(re.sub(" - at `\\$\\.?(.+)`$", r": \1", str(error))) from None


def parse_body(body: bytes, parse: Callable[[bytes], _Body]) -> _Body:
    """Return what `parse` makes of `body`.

    Raises:
        HTTPException: 400 if it is no JSON, 422 if a field is wrong.
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
        HTTPException: 413, with the sentence `too_large_message`, if it has more than `max_bytes` bytes; 400 if
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
