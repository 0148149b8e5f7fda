"""Path and query parameters of `/v1`, and the pages of its lists.

Rule: a list is sorted by name, and a page token is the last name of the previous page. So an item
that exists all the time is listed exactly once, whatever else is added or removed.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, unquote_to_bytes

from fastapi import HTTPException, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from bridge.core.protocol.names import MAX_NAME_BYTES, is_valid_name, is_valid_topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send


class StrictQuery(BaseModel):
    """Query parameters; unknown ones are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def reject_repeated_parameters(request: Request) -> None:
    """Reject a request with a repeated parameter.

    Raises:
        HTTPException: 422 that names the parameter.
    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if count > 1:
            raise HTTPException(422, f"{name[:100]}: given twice")


_API_PREFIX: Final = "/v1/"
_NAME_SCHEMA: Final = {
    "minLength": 1,
    "maxLength": MAX_NAME_BYTES,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069,*]+$",
}
_TOPIC_SCHEMA: Final = {"pattern": "^[a-zA-Z0-9._-]{1,200}$", "not": {"enum": [".", ".."]}}


class RawPathMiddleware:
    """Routes `/v1/` by the raw path, so that a name may contain an encoded `/`.

    Routes get names in which `%` and `/` are still encoded; `PathName` decodes them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request with its raw path."""
        if scope["type"] == "http" and scope["path"].startswith(_API_PREFIX):
            raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
            scope = {**scope, "path": "/".join(map(_keep_slashes_encoded, raw_path.split(b"/")))}
        await self._app(scope, receive, send)


def _keep_slashes_encoded(part: bytes) -> str:
    text = unquote_to_bytes(part).decode("utf-8", "surrogateescape")
    return text.replace("%", "%25").replace("/", "%2F")


def _validate_name(name: str) -> str:
    if not is_valid_name(name):
        raise _invalid_name(name)
    return name


def _validate_topic(name: str) -> str:
    if not is_valid_topic(name):
        raise _invalid_name(name)
    return name


def _invalid_name(name: str) -> PydanticCustomError:
    context = {"shown": ascii(name[:MAX_NAME_BYTES])}
    return PydanticCustomError("name", "not a name of 1 to 200 bytes: {shown}", context)


def _decode_path_name(part: str) -> str:
    return _validate_name(unquote(part))


#: A path parameter: the name of an account, a room or a connection.
PathName = Annotated[
    str,
    AfterValidator(_decode_path_name),
    Path(description="Percent-encoded.", json_schema_extra=_NAME_SCHEMA),
]
#: Query parameters: such a name or an instance's, and a topic's.
QueryName = Annotated[
    str, AfterValidator(_validate_name), WithJsonSchema({"type": "string", **_NAME_SCHEMA})
]
QueryTopic = Annotated[
    str, AfterValidator(_validate_topic), WithJsonSchema({"type": "string", **_TOPIC_SCHEMA})
]


DEFAULT_PAGE_LIMIT: Final = 100
MAX_PAGE_LIMIT: Final = 1_000
#: Names that are processed in one turn of the event loop.
NAMES_PER_STEP: Final = 2_000


class PageQuery(StrictQuery):
    """The requested page of a list."""

    limit: Annotated[
        int, Field(ge=1, le=MAX_PAGE_LIMIT, description="The maximum number of items.")
    ] = DEFAULT_PAGE_LIMIT
    page: Annotated[str | None, Field(description="`next` of the previous page.")] = None

    async def paginate(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """Return the names of this page, and the token of the next one or None.

        It yields to the event loop after every `NAMES_PER_STEP` names.

        Raises:
            HTTPException: 400 if `page` is not a page token.
        """
        after = "" if self.page is None else _decode_page_token(self.page)
        found: list[str] = []
        remaining = iter(names)
        while chunk := list(islice(remaining, NAMES_PER_STEP)):
            found = sorted({*found, *(name for name in chunk if name > after)})[: self.limit + 1]
            await asyncio.sleep(0)
        if len(found) <= self.limit:
            return found, None
        return found[:-1], _encode_page_token(found[-2])


def _encode_page_token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def _decode_page_token(page: str) -> str:
    try:
        name = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
    except ValueError:
        name = ""
    if not name or _encode_page_token(name) != page:
        raise HTTPException(400, "page: not the `next` of a response")
    return name
