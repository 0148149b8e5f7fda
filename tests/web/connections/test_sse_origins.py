"""Event streams for pages of other origins: those that are listed may read them, no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.web.auth.origins import Doors
from tests.web.listening import ask, listen, refused

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig

SHOP, OTHER = "https://shop.example", "https://other.example"


@pytest.fixture
async def shared(open_rig: OpenRig) -> Rig:
    return await open_rig(doors=Doors(origins=(SHOP,)))


async def test_a_page_of_an_allowed_origin_may_read_every_answer(shared):
    listener = await listen(shared, headers={"Origin": SHOP})
    for answer in listener.head, await refused(shared, 400, "nonsense=1", Origin=SHOP):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    assert (await refused(shared, 403, Origin=OTHER)).headers.get("vary") is None


async def test_any_origin_is_named_where_all_are_allowed(open_rig: OpenRig):
    rig = await open_rig(doors=Doors(origins=("*",)))
    listener = await listen(rig, headers={"Origin": OTHER})
    assert listener.head.headers["access-control-allow-origin"] == OTHER


async def test_a_page_may_ask_what_it_may_send(shared):
    answer = await ask(shared, "", "OPTIONS", Origin=SHOP, Access_Control_Request_Method="GET")
    assert (answer.status, answer.body) == (204, b"")
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "last-event-id"} <= set(allowed)
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert (await ask(shared, "", "OPTIONS", Origin=OTHER)).status == 403


async def test_options_and_head_are_answered_without_a_stream(rig):
    answer = await ask(rig, "", "OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert "access-control-allow-origin" not in answer.headers
    answer = await ask(rig, "account=alice", "HEAD")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert "content-length" not in answer.headers
    assert (await ask(rig, "nonsense=1", "HEAD")).status == 400
    assert (await ask(rig, "topics=nothing", "HEAD")).status == 403
    assert (rig.entrance.count, len(rig.sockets)) == (0, 0)
    assert (await ask(rig, "", "POST")).status == 405
