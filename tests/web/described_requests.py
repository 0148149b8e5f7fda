"""Requests that Schemathesis makes of an application's OpenAPI document.

Rule: Schemathesis is imported with the first request. Its import costs each worker 0.5 s, and one
or two workers need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy
    from schemathesis import Case
    from schemathesis.core.transport import Response
    from starlette.types import ASGIApp

Mode = Literal["positive", "negative"]
#: Requests that the document allows, and requests that it does not.
POSITIVE: Final[Mode] = "positive"
NEGATIVE: Final[Mode] = "negative"


class DescribedRequests:
    """The operations of the document that `app` serves."""

    def __init__(self, app: ASGIApp) -> None:
        from schemathesis import openapi  # noqa: PLC0415 - the rule above

        self._schema = openapi.from_asgi("/openapi.json", app)
        self._strategies: dict[tuple[str, Mode], SearchStrategy[Case[Any]]] = {}

    def strategy(self, operation: str, mode: Mode) -> SearchStrategy[Case[Any]]:
        """Return requests of an operation, such as `GET /healthz`."""
        if (operation, mode) not in self._strategies:
            self._strategies[operation, mode] = self._build_strategy(operation, mode)
        return self._strategies[operation, mode]

    def _build_strategy(self, operation: str, mode: Mode) -> SearchStrategy[Case[Any]]:
        from schemathesis.generation import GenerationMode  # noqa: PLC0415

        method, path = operation.split(" ")
        return self._schema[path][method].as_strategy(generation_mode=GenerationMode(mode))

    def validate(self, case: Case[Any], answer: Response, *, unchecked: Sequence[str] = ()) -> None:
        """Check an answer against the document, less the checks `unchecked`."""
        from schemathesis.specs.openapi import checks  # noqa: PLC0415

        case.validate_response(answer, excluded_checks=[getattr(checks, n) for n in unchecked])
