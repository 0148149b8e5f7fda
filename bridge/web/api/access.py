"""Who may use `/v1`: admin tokens, their roles, and a log line of each call that changes something.

Rules: tokens are compared in constant time. Whoever guesses is slowed down before the comparison,
so that a right guess is not told apart. No token is logged.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from fastapi import Depends, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bridge.web.auth.client_address import TrustedProxies, client_network

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

#: So many wrong tokens of an address in a second, then 429.
MAX_WRONG_TOKENS: Final = 10
WINDOW_SECONDS: Final = 1.0
#: Addresses whose wrong tokens are counted; the longest silent one goes.
_MAX_ADDRESSES: Final = 4096
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
#: Calls that change nothing, although their method could.
_READING_PATHS: Final = {"/v1/explain"}

_log = logging.getLogger(__name__)

_admin_bearer = HTTPBearer(
    scheme_name="adminToken",
    description="One of BRIDGE_ADMIN_TOKENS. Without any the API is off.",
    auto_error=False,
)


#: OpenAPI's descriptions of what is refused here.
ACCESS_PROBLEMS: Final = {
    401: "The admin token is missing or wrong",
    403: "The admin token may only read",
    429: "Too many wrong admin tokens came from this address",
}


class Operator(NamedTuple):
    """Who has one of the admin tokens. `may_write` is false for the role `read`."""

    token: str
    name: str
    may_write: bool = True


class AdminAccess:
    """Requires one of the operators' tokens, with the role that the call needs."""

    def __init__(
        self,
        operators: Sequence[Operator],
        trusted_proxies: TrustedProxies | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is a monotonic clock, in seconds."""
        self._operators = [(operator.token.encode(), operator) for operator in operators]
        self._trusted_proxies = trusted_proxies or TrustedProxies()
        self._now = now
        self._wrong_tokens: OrderedDict[str, deque[float]] = OrderedDict()

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_admin_bearer)],
    ) -> None:
        """Check the bearer token of a request.

        Raises:
            HTTPException: 401 if it is missing or wrong, 403 if it may only read, 429 if too many
                wrong ones came from this address.
        """
        address = self.address(request)
        self.check_rate(address)
        operator = self.find("" if credentials is None else credentials.credentials)
        if operator is None:
            if credentials is not None:
                self.count_wrong(address)
            raise HTTPException(
                401,
                "this needs one of the admin tokens (BRIDGE_ADMIN_TOKENS)",
                {"WWW-Authenticate": "Bearer"},
            )
        request.state.operator = operator
        if not operator.may_write and _changes_something(request):
            raise HTTPException(403, "this admin token may only read (its role is `read`)")

    def find(self, token: str) -> Operator | None:
        """Return whose token this is."""
        token_bytes = token.encode("utf-8", "replace")
        # A list, not a generator: the search must not stop at the first match.
        found = [
            operator
            for known, operator in self._operators
            if hmac.compare_digest(token_bytes, known)
        ]
        return found[0] if found else None

    def address(self, request: Request) -> str:
        """Return what wrong tokens are counted by."""
        peer = request.client.host if request.client is not None else ""
        forwarded_for = request.headers.getlist("X-Forwarded-For")
        return client_network(self._trusted_proxies.client_address(peer, forwarded_for))

    def check_rate(self, address: str) -> None:
        """Check that `address` did not guess too often.

        Raises:
            HTTPException: 429 if it did.
        """
        times = self._wrong_tokens.get(address)
        if times is None or len(times) < MAX_WRONG_TOKENS:
            return
        if self._now() - times[0] < WINDOW_SECONDS:
            raise HTTPException(
                429, "too many wrong tokens came from this address", {"Retry-After": "1"}
            )

    def count_wrong(self, address: str) -> None:
        """Count a wrong token of `address`."""
        times = self._wrong_tokens.setdefault(address, deque(maxlen=MAX_WRONG_TOKENS))
        times.append(self._now())
        self._wrong_tokens.move_to_end(address)
        if len(self._wrong_tokens) > _MAX_ADDRESSES:
            self._wrong_tokens.popitem(last=False)


class AuditedRoute(APIRoute):
    """Logs each call of an operator that changes something, with its outcome."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route, with the log line after it."""
        handle = super().get_route_handler()

        async def handle_audited(request: Request) -> Response:
            status = 500
            try:
                response = await handle(request)
                status = response.status_code
            except HTTPException as error:
                status = error.status_code
                raise
            except RequestValidationError:
                status = 422
                raise
            except asyncio.CancelledError:  # the instance ends: its server answers
                status = 503
                raise
            finally:
                _log_call(request, status)
            return response

        return handle_audited


def _changes_something(request: Request) -> bool:
    return request.method not in _SAFE_METHODS and request.url.path not in _READING_PATHS


def _log_call(request: Request, status: int) -> None:
    operator: Operator | None = getattr(request.state, "operator", None)
    if operator is None or not _changes_something(request):
        return
    # The raw path is percent-encoded: what a caller writes there cannot forge a line.
    path = request.scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")
    _log.info(
        "an operator's call ended name=%s call=%s status=%d",
        operator.name,
        f"{request.method} {path}",
        status,
    )
