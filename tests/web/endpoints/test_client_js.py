"""The JavaScript client is served to pages of every origin, as the file that it is."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

import pytest

import bridge
from tests.web.endpoints.test_console import bridge as instance
from tests.web.endpoints.test_console import client

FOLDER: Final = Path(bridge.__file__).with_name("client") / "javascript"
FILES: Final = {
    "/client.js": ("push-bridge.js", "text/javascript; charset=utf-8"),
    "/client.d.ts": ("push-bridge.d.ts", "text/plain; charset=utf-8"),
}


@pytest.mark.parametrize("path", FILES)
async def test_the_client_is_served_to_every_origin(path: str) -> None:
    name, kind = FILES[path]
    async with client(instance()) as http:
        answer = await http.get(path, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"] == kind
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", FILES)
async def test_one_that_has_not_changed_is_a_304(path: str) -> None:
    async with client(instance()) as http:
        tag = (await http.get(path)).headers["etag"]
        answer = await http.get(path, headers={"If-None-Match": f'W/{tag}, "other"'})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
        assert (await http.head(path)).content == b""


async def test_it_is_on_the_port_of_the_clients_where_operators_have_their_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as admin:
        app = instance(admin)
        for port in (8080, admin.getsockname()[1]):
            async with client(app, port) as http:
                assert (await http.get("/client.js")).status_code == 200


async def test_it_is_no_part_of_the_api() -> None:
    async with client(instance()) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    assert not any(path.startswith("/client") for path in paths)
