"""Two applications on one server, told apart by the port that a request came to.

Rule: the port is the socket's own, never a header's, so nobody outside reaches what is only on
the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


class ByPort:
    """Serves `elsewhere` on the ports in it, and `usual` on all others."""

    def __init__(self, usual: ASGIApp, elsewhere: Mapping[int, ASGIApp]) -> None:
        self._usual = usual
        self._elsewhere = elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        _, port = scope.get("server") or ("", 0)
        await self._elsewhere.get(port or 0, self._usual)(scope, receive, send)
