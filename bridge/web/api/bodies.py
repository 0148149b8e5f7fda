"""What is posted: taken in as far as it may be large, and read as what it has to be.

Rule: what is no JSON is a 400, and what is JSON of another form a 422 that names the field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from fastapi import HTTPException
from starlette.requests import ClientDisconnect

from bridge.core.protocol.envelope import is_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

_Read = TypeVar("_Read")


class BadJson(ValueError):
    """What was posted is no JSON."""


class WrongField(ValueError):
    """What was posted is not what was asked for. The message names the field."""


def decode(body: bytes, decoder: Callable[[bytes], _Read]) -> _Read:
    """Return what `decoder`, which is msgspec's, makes of `body`.

    Raises:
        BadJson: If it is no JSON.
        WrongField: If a field is wrong.
    """
    if not is_json(body):
        raise BadJson("the body is no JSON")
    try:
        return decoder(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WrongField(re.sub(" - at `\\$\\.?(.+)`$", r": \1", str(error))) from None


def understood(body: bytes, read: Callable[[bytes], _Read]) -> _Read:
    """Return what `read` makes of `body`.

    Raises:
        HTTPException: 400 if it is no JSON, 422 if a field is wrong.
    """
    try:
        return read(body)
    except BadJson as error:
        raise HTTPException(400, str(error)) from None
    except WrongField as error:
        raise HTTPException(422, str(error)) from None


async def taken(request: Request, most: int, too_large: str) -> bytes:
    """Return the body of `request`.

    Raises:
        HTTPException: 413, with the sentence `too_large`, if it has more than `most` bytes; 400 if
            it ends early.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise HTTPException(413, too_large)
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)
