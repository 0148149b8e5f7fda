"""The error format of all HTTP endpoints: `application/problem+json` (RFC 9457).

Rule: a problem says what to change. It reveals nothing about the bridge's internals.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"
#: `no-transform`: a proxy that compresses would hold events back until its block is full.
CACHE_CONTROL = "no-store, no-transform"
#: These responses have `Retry-After`.
RETRYABLE_STATUSES = {429, 503}


class Problem(msgspec.Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def problem_response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra_members: object
) -> JSONResponse:
    """Return the response. `extra_members` extend the members of the RFC."""
    body = Problem("about:blank", HTTPStatus(status).phrase, status, detail)
    return JSONResponse(
        {**msgspec.to_builtins(body), **extra_members},
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": CACHE_CONTROL, **(headers or {})},
    )


def encode_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a problem response that ends its connection, for use without ASGI."""
    response = problem_response(status, detail, headers=headers)
    fields = {
        "Connection": "close",
        **(headers or {}),
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(response.body)),
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + bytes(response.body)


def openapi_problems(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route's problems, by status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": reason, "content": content} for status, reason in reasons.items()
    }
    for status in responses.keys() & RETRYABLE_STATUSES:
        retry_after = {"description": "Seconds to wait", "schema": {"type": "integer"}}
        responses[status]["headers"] = {"Retry-After": retry_after}
    return responses
