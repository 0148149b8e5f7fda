"""`/healthz`, `/livez` and `/readyz`.

Rule: a Kafka outage does not end readiness, it adds `stale`. A stale instance serves its clients
better than no instance.
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
    """Return the routes of the probes."""
    router = APIRouter(tags=["probes"])

    @router.get("/livez", response_description="The instance is alive")
    @router.get("/healthz", response_description="The instance is alive")
    async def healthz() -> dict[str, str]:
        """Liveness: the event loop responds."""
        return {"status": "alive"}

    @router.get(
        "/readyz",
        response_description="Ready; `stale` has the seconds without Kafka during an outage,"
        " `waiting` the partitions without a leader",
        responses=openapi_problems({503: "Not ready, with the reason"}),
    )
    async def readyz() -> JSONResponse:
        """Readiness: has caught up with Kafka once, accepts clients, is not draining."""
        if admission.is_draining:
            return problem_response(503, "draining: this instance is leaving")
        if not upstream.is_ready():
            return problem_response(503, "has not caught up with Kafka yet")
        body: dict[str, Any] = {"status": "ready"}
        stale_seconds = upstream.stale_seconds()
        if stale_seconds is not None:
            body["stale"] = stale_seconds
        if waiting := upstream.waiting_partitions():
            body["waiting"] = waiting
        return JSONResponse(body)

    return router
