"""An admission controller for tests: what it needs beside the hub has defaults here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.core.coordination.membership import CommandExecutor, Memberships
from bridge.web.auth.authenticator import AllowAll
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import AdmissionController, ExpiryTimers

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
    origins: OriginPolicy | None = None,
    wall_clock: Callable[[], float] = time.time,
    **more: Any,
) -> AdmissionController:
    """Build one that lets everybody in, unless a test says otherwise."""
    return AdmissionController(
        hub,
        authenticator if authenticator is not None else AllowAll(),
        origins if origins is not None else OriginPolicy(),
        limits,
        catch_up=catch_up,
        upstream=upstream,
        command_executor=CommandExecutor(hub, Memberships()),
        expiry=ExpiryTimers(hub, wall_clock=wall_clock),
        wall_clock=wall_clock,
        **more,
    )
