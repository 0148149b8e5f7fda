"""`POST /v1/reload`: this instance reads its settings again.

Rule: topics change at once or not at all. Everything else is only named, and waits for a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from fastapi import APIRouter, Depends
from fastapi.responses import Response

from bridge.web.api.access import ACCESS_PROBLEMS, AuditedRoute
from bridge.web.api.params import reject_repeated_parameters
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.web.api.access import AdminAccess
    from bridge.web.api.schemas import Reloaded
    from bridge.web.http.rate_limit import RateLimit

_RETRY_AFTER_SECONDS: Final = 1


class SettingsRefused(Exception):
    """The settings are wrong, so nothing changes. The message is what `check` prints."""


class InstanceDraining(Exception):
    """The instance is about to end, so nothing changes."""


_RESPONSES: Final = {
    200: {
        "description": "The settings were read; topics are as they say",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Reloaded"}}},
    },
    **openapi_problems(
        {
            **ACCESS_PROBLEMS,
            404: "The API is off, because no admin token is set",
            422: "A setting is wrong: nothing changes. The detail is what `check` prints",
            429: "Too many writes per second (BRIDGE_LIMITS__PUBLISHES_PER_SECOND), or too many"
            " wrong admin tokens of this address",
            503: "The instance is draining",
        }
    ),
}


def reload_router(
    reload: Callable[[], Awaitable[Reloaded]], access: AdminAccess, *, rate_limit: RateLimit
) -> APIRouter:
    """Return the route of a reload.

    `reload` raises `SettingsRefused` or `InstanceDraining`.
    """
    router = APIRouter(
        prefix="/v1",
        tags=["operations"],
        dependencies=[Depends(access), Depends(reject_repeated_parameters)],
        route_class=AuditedRoute,
    )

    @router.post("/reload", responses=_RESPONSES)
    async def reload_settings() -> Response:
        """Read the settings of this instance again: topics may come, go and change."""
        rate_limit.check()
        try:
            reloaded = await reload()
        except SettingsRefused as error:
            return problem_response(422, str(error))
        except InstanceDraining:
            headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
            return problem_response(503, "the instance is draining", headers=headers)
        return Response(msgspec.json.encode(reloaded), media_type="application/json")

    return router
