"""The page: served to operators only, as files that no other site can use or add to."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from bridge.app.access import build_kafka_access
from bridge.app.instance import Instance
from bridge.config.settings import Settings
from bridge.web.app import create_app
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy
from bridge.web.endpoints import static as page_module
from bridge.web.endpoints.static import console_router
from tests.web.publish_api import TOKEN, check_problem
from tests.web.token_signing import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER: Final = Path(page_module.__file__).parents[1] / "console"
FILES: Final = sorted(path.name for path in FOLDER.iterdir())
HANDED: Final = "handed-to-the-page"
PORT: Final = 8080
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def client(app: Any, port: int = PORT) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The page as `dev` serves it."""
    doors = OriginPolicy(hosts=LOOPBACK_HOSTS)
    async with client(
        create_app(doors, [console_router(doors, by_account=True, admin_token=HANDED)])
    ) as http:
        yield http


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_as_what_it_is(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get("/" if name == "index.html" else f"/console/{name}")
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"] == TYPES[Path(name).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/console/console.js", "/console.json"])
async def test_nothing_inline_and_nothing_of_others_runs(
    http: httpx.AsyncClient, path: str
) -> None:
    policy = (await http.get(path)).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert {rules[each] for each in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in policy


def test_the_files_are_whole_small_and_free_of_markup_from_data() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) < 300, path
        assert "innerHTML" not in text, path
        assert "insertAdjacentHTML" not in text, path
        assert re.findall(r"https?://(?!www\.w3\.org/)", text) == [], path
        if path.suffix == ".js":
            assert text.startswith("// "), f"{path} does not say what it is"
            for name in re.findall(r'from "\./(.+)"', text):
                assert name in FILES
    html = (FOLDER / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html) == []
    for name in re.findall(r'(?:href|src)="console/(.+?)"', html):
        assert name in FILES


async def test_a_file_that_has_not_changed_is_a_304(http: httpx.AsyncClient) -> None:
    tag = (await http.get("/")).headers["etag"]
    for given in (tag, f'W/{tag}, "other"'):
        answer = await http.get("/", headers={"If-None-Match": given})
        assert (answer.status_code, answer.content) == (304, b"")
    assert (await http.get("/", headers={"If-None-Match": '"other"'})).status_code == 200


async def test_head_is_answered_without_a_body(http: httpx.AsyncClient) -> None:
    answer = await http.head("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES[".html"])


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpage.py", "%2e%2e/page.py", ""])
async def test_no_other_file_is_served(http: httpx.AsyncClient, name: str) -> None:
    check_problem(await http.get(f"/console/{name}"), 404)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://127.0.0.1:{PORT}"}],
    ids=str,
)
async def test_dev_hands_its_token_to_the_page(
    http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await http.get("/console.json", headers=headers)
    assert answer.json() == {"by_account": True, "admin_token": HANDED}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}", "Origin": f"http://evil.example:{PORT}"},
    ],
    ids=str,
)
async def test_and_to_nobody_else(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.get("/console.json", headers=headers)
    check_problem(answer, 403)
    assert HANDED not in answer.text


# -- a whole instance: where it is ----------------------------------------------------------------


def bridge(admin: socket.socket | None = None, **settings: Any) -> Any:
    """The application of an instance that is not started."""
    made = Settings(**{"topics": ["orders"], "auth": {"secret": SECRET}, **settings})
    return Instance(made, access=build_kafka_access(made.kafka), admin=admin)._server.config.app


async def test_with_admin_tokens_serve_has_the_page_and_hands_out_no_token() -> None:
    async with client(bridge(admin_tokens=[TOKEN])) as http:
        assert (await http.get("/")).headers["content-type"] == TYPES[".html"]
        told = await http.get("/console.json")
        assert told.json() == {"by_account": False, "admin_token": None}
        assert TOKEN not in told.text


async def test_it_asks_for_an_account_where_authentication_is_off() -> None:
    async with client(bridge(admin_tokens=[TOKEN], auth={"mode": "none"})) as http:
        assert (await http.get("/console.json")).json()["by_account"] is True


async def test_without_admin_tokens_serve_has_no_page() -> None:
    async with client(bridge()) as http:
        for path in ("/", "/console.json", "/console/console.js"):
            check_problem(await http.get(path), 404)


async def test_with_an_admin_port_the_page_is_there_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as admin:
        app = bridge(admin, admin_tokens=[TOKEN])
        async with client(app) as http, client(app, admin.getsockname()[1]) as operators:
            for path in ("/", "/console.json", "/console/console.js"):
                check_problem(await http.get(path), 404)
                assert (await operators.get(path)).status_code == 200


async def test_the_page_is_no_part_of_the_api() -> None:
    async with client(bridge(admin_tokens=[TOKEN])) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    assert not any(path == "/" or path.startswith("/console") for path in paths)
