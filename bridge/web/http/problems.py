"""Errors as RFC 9457 wants them: what every answer of the HTTP side that is no success looks like.

Rule: a problem says what to change, and nothing of what the bridge is made of.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"
#: What goes away by itself: who is told so may come again.
LATER = {429, 503}


class Problem(msgspec.Struct):
    """Why not (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """Return the answer; `more` are members beside those of the RFC."""
    told = Problem("about:blank", HTTPStatus(status).phrase, status, detail)
    return JSONResponse(
        {**msgspec.to_builtins(told), **more},
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def described(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is told of the problems that a route answers, by their status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": reason, "content": content} for status, reason in reasons.items()
    }
    for status in answers.keys() & LATER:
        seconds = {"description": "Seconds to wait", "schema": {"type": "integer"}}
        answers[status]["headers"] = {"Retry-After": seconds}
    return answers
