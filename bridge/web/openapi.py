"""The OpenAPI document: what the HTTP side promises.

Rule: there is one, the same on every port and whatever is switched on, made of the routes and of
the very types that requests are read with.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI

from bridge import __version__
from bridge.web.api import commands
from bridge.web.api import schemas as api_schemas
from bridge.web.api.publication import AUDIENCE, EXAMPLE, Publication, Published
from bridge.web.endpoints.history import History
from bridge.web.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import APIRouter

_ABOUT = """From Kafka to every browser, phone and terminal that should know.

`/v1` needs one of the admin tokens, and is 404 where none is set. With `BRIDGE_ADMIN_PORT` set,
`/v1` and `/metrics` are on that port only. Every error is `application/problem+json` (RFC 9457).
WebSockets are at `/ws`; their frames are in the AsyncAPI document.
"""


def openapi(routers: Iterable[APIRouter]) -> dict[str, Any]:
    """Return the document of these routes."""
    app = FastAPI(title="Push bridge", version=__version__, description=_ABOUT)
    for router in routers:
        app.include_router(router)
    document = app.openapi()
    examples = {type(each).__name__: each for each in (*api_schemas.EXAMPLES, *commands.EXAMPLES)}
    types = (History, Problem, Publication, Published, *map(type, examples.values()))
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = cleandoc(schema["description"])
    for name, example in examples.items():
        schemas[name]["examples"] = [msgspec.to_builtins(example)]
    schemas["Publication"] |= {"anyOf": AUDIENCE, "examples": [EXAMPLE]}
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    return document
