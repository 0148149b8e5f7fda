"""Is it alive, and should clients be sent here.

Rule: alive and ready are two questions. An instance that has been ready stays so through an
outage of Kafka, with `stale`: its clients are better served by it than by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from bridge.web.connections.admission import AdmissionController
    from bridge.web.upstream import Upstream


def health_router(admission: AdmissionController, upstream: Upstream) -> APIRouter:
    """Return the routes of `/healthz` and `/readyz`."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", response_description="It is alive")
    async def healthz() -> dict[str, str]:
        """Alive: the event loop answers."""
        return {"status": "alive"}

    @router.get(
        "/readyz",
        response_description="Ready; with `stale`, the seconds without Kafka, in an outage",
        responses=openapi_problems({503: "Not ready, with the reason"}),
    )
    async def readyz() -> JSONResponse:
        """Ready: has caught up with Kafka once, is accepting, is not draining."""
        if admission.is_draining:
            return problem_response(503, "draining: this instance is leaving")
        if not upstream.is_ready():
            return problem_response(503, "has not caught up with Kafka yet")
        body: dict[str, Any] = {"status": "ready"}
        stale_seconds = upstream.stale_seconds()
        if stale_seconds is not None:
            body["stale"] = stale_seconds
        return JSONResponse(body)

    return router
