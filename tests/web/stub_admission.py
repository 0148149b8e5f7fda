"""An admission controller for tests: what it needs beside the hub has defaults here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.core.coordination.room_memberships import CommandExecutor, Memberships
from bridge.web.auth.authenticator import AllowAll
from bridge.web.connections.admission import AdmissionController, ClientCounters, ExpiryTimers

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.web.auth.authenticator import Authenticator
    from bridge.web.connections.admission import AdmissionLimits
    from bridge.web.upstream import Upstream


def build_admission(
    hub: Hub,
    limits: AdmissionLimits,
    catch_up: CatchUp,
    upstream: Upstream,
    *,
    authenticator: Authenticator | None = None,
    counters: ClientCounters | None = None,
    expiry: ExpiryTimers | None = None,
    wall_clock: Callable[[], float] = time.time,
    **more: Any,
) -> AdmissionController:
    """Build one that lets everybody in, unless a test says otherwise."""
    return AdmissionController(
        hub,
        authenticator if authenticator is not None else AllowAll(),
        limits,
        catch_up=catch_up,
        upstream=upstream,
        command_executor=CommandExecutor(hub, Memberships()),
        expiry=expiry if expiry is not None else ExpiryTimers(hub, wall_clock=wall_clock),
        counters=counters if counters is not None else ClientCounters(),
        wall_clock=wall_clock,
        **more,
    )
