"""Names in paths: percent-encoded, so that a slash in one is no end of it.

Rule: a path is taken apart before it is decoded, and a name is judged by the rule for names
whichever way it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, unquote_to_bytes

from fastapi import Path
from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bridge.core.protocol.names import MAX_BYTES, is_name, is_topic

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_BELOW: Final = "/v1/"
_NAME: Final = {
    "minLength": 1,
    "maxLength": MAX_BYTES,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f,*]+$",
}
_TOPIC: Final = {"pattern": "^[a-zA-Z0-9._-]{1,200}$", "not": {"enum": [".", ".."]}}


class WholeNames:
    """Lets what is below `/v1/` be routed by the path as it was sent.

    In what routes are told `%` and `/` of a name are still encoded; `Name` decodes them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["path"].startswith(_BELOW):
            sent: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
            scope = {**scope, "path": "/".join(map(_kept, sent.split(b"/")))}
        await self._app(scope, receive, send)


def _kept(part: bytes) -> str:
    text = unquote_to_bytes(part).decode("utf-8", "surrogateescape")
    return text.replace("%", "%25").replace("/", "%2F")


def _checked(name: str) -> str:
    if not is_name(name):
        raise _wrong(name)
    return name


def _checked_topic(name: str) -> str:
    if not is_topic(name):
        raise _wrong(name)
    return name


def _wrong(name: str) -> PydanticCustomError:
    shown = {"shown": ascii(name[:MAX_BYTES])}
    return PydanticCustomError("name", "not a name of 1 to 200 bytes: {shown}", shown)


def _of_path(part: str) -> str:
    return _checked(unquote(part))


#: A part of a path that is the name of an account, a room or a connection.
Name = Annotated[
    str,
    AfterValidator(_of_path),
    Path(description="Percent-encoded.", json_schema_extra=_NAME),
]
#: A parameter that is such a name, or an instance's; and one that is a topic's.
AnyName = Annotated[str, AfterValidator(_checked), WithJsonSchema({"type": "string", **_NAME})]
TopicName = Annotated[
    str, AfterValidator(_checked_topic), WithJsonSchema({"type": "string", **_TOPIC})
]
