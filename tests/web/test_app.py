"""The HTTP side: probes, and errors as RFC 9457 wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.conftest import OpenBridge


@pytest.fixture
async def http(rig) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False, verify=False) as client:
        yield client


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
async def test_the_probe_of_liveness_says_alive_whatever_kafka_does(rig, http, path):
    rig.upstream.reports_ready, rig.upstream.stale_for = False, 60.0
    answer = await http.get(path)
    assert answer.json() == {"status": "alive"}
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


async def test_readyz_is_503_with_the_reason_until_it_has_caught_up_once(rig, http):
    rig.upstream.reports_ready = False
    assert "caught up" in check_problem(await http.get("/readyz"), 503)["detail"]
    rig.upstream.reports_ready = True
    answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert "stale" not in answer.json()


async def test_readyz_is_200_with_stale_in_a_later_outage(rig, http):
    rig.upstream.stale_for = 12.5
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["stale"]) == (200, 12.5)


async def test_readyz_is_200_and_lists_partitions_without_a_leader(rig, http):
    rig.hub.set_waiting("orders", b"", {1: 0.0, 0: 0.0}, {})
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["waiting"]) == (200, ["orders:0", "orders:1"])
    assert "stale" not in answer.json(), "this instance reaches brokers"
    rig.hub.set_waiting("orders", b"", {}, {})
    assert "waiting" not in (await http.get("/readyz")).json()


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/connections", "/docs"])
async def test_what_does_not_exist_is_a_404(http, path):
    check_problem(await http.get(path), 404)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_a_method_that_is_not_allowed_is_a_405_that_says_which_are(http, method):
    answer = await http.request(method, "/healthz")
    check_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


async def test_the_websocket_without_an_upgrade_is_a_426_that_says_to_what(http):
    answer = await http.get("/ws")
    check_problem(answer, 426)
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"


async def test_openapi_describes_the_probes(http):
    answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    assert {"/healthz", "/readyz"} <= answer.json()["paths"].keys()


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/openapi.json", "/ws", "/no"])
async def test_a_head_is_what_a_get_would_be_without_its_body(http, path):
    get, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == str(len(get.content))
    for answer in (get, head):
        del answer.headers["date"]
    assert head.headers == get.headers
    assert (await http.get("/healthz")).status_code == 200, "on the same connection"


async def test_the_server_does_not_name_its_software(http):
    assert "server" not in (await http.get("/healthz")).headers


async def test_a_host_that_is_not_this_machine_is_a_403_in_dev(open_rig: OpenBridge):
    rig = await open_rig(doors=OriginPolicy(hosts=LOOPBACK_HOSTS))
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False, verify=False) as http:
        for path in ("/healthz", "/readyz", "/openapi.json", "/nothing"):
            check_problem(await http.get(path, headers={"Host": "evil.example"}), 403)
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/healthz", headers={"Host": "localhost"})).status_code == 200


async def test_any_host_will_do_elsewhere(http):
    assert (await http.get("/healthz", headers={"Host": "any.example"})).status_code == 200


async def test_a_request_that_http_can_not_read_is_a_400(rig):
    raw = await rig.open_tcp()
    answer = await raw.request("NONSENSE\r\n\r\n")
    assert answer.status == 400
