"""The backend's word at every door: who connects, and what is granted beside a token."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from bridge.web.auth.callback.authenticator import CallbackAuthenticator
from bridge.web.auth.callback.client import CallbackClient
from bridge.web.auth.callback.extension import ExtendingAuthenticator
from bridge.web.auth.origins import OriginPolicy
from tests.web.auth.callback.callback_backend import CallbackBackend, callback_backend
from tests.web.history_api import history_api
from tests.web.sse_client import open_welcomed_stream, request_stream
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

SHOP = "https://shop.example"
TOPICS = {"orders": False, "news": False, "audit": True}


@pytest.fixture
async def backend() -> AsyncIterator[CallbackBackend]:
    async with callback_backend() as running:
        yield running


@pytest.fixture
async def asker(backend: CallbackBackend) -> AsyncIterator[CallbackClient]:
    client = CallbackClient(backend.url, timeout_seconds=5)
    yield client
    client.close()


@pytest.fixture
async def rig(open_rig: OpenBridge, asker: CallbackClient) -> InProcessBridge:
    return await open_rig(
        gate=CallbackAuthenticator(asker, ["cookie", "authorization"]),
        doors=OriginPolicy([SHOP], uses_cookies=True),
    )


# -- `connect` -------------------------------------------------------------------------------------


async def test_a_cookie_is_enough(rig: InProcessBridge, backend: CallbackBackend) -> None:
    backend.answer = {"account": "alice", "topics": ["orders"], "rooms": ["lobby"]}
    client = await rig.connect_welcomed(
        "rooms=lobby&topics=orders", origin=SHOP, additional_headers={"Cookie": "sid=1"}
    )
    assert client.welcome["account"] == "alice"
    assert (client.welcome["topics"], client.welcome["rooms"]) == (["orders"], ["lobby"])
    assert backend.questions == [
        {
            "ask": "connect",
            "token": None,
            "headers": {"cookie": "sid=1"},
            "address": "127.0.0.1",
            "origin": SHOP,
            "topics": ["orders"],
            "rooms": ["lobby"],
        }
    ]


async def test_each_door_asks(rig: InProcessBridge, backend: CallbackBackend) -> None:
    by_hello = await rig.connect("hello=1", additional_headers={"Cookie": "sid=1"})
    await by_hello.send("hello", token="opaque", rooms=["lobby"])
    assert (await by_hello.expect("welcome"))["account"] == "alice"
    await open_welcomed_stream(rig, "token=opaque&rooms=lobby")
    reply = await by_hello.request("token", token="newer")
    assert reply["ok"]
    assert [each["token"] for each in backend.questions] == ["opaque", "opaque", "newer"]
    assert [each["rooms"] for each in backend.questions] == [["lobby"]] * 3
    assert backend.questions[0]["headers"] == {"cookie": "sid=1"}


async def test_history_asks(asker: CallbackClient, backend: CallbackBackend) -> None:
    gate = CallbackAuthenticator(asker, ["cookie"])
    async with history_api(gate) as at:
        assert (await at.get("opaque")).status_code == 200
        backend.status = 401
        assert (await at.get("opaque")).status_code == 401
    assert [each["token"] for each in backend.questions] == ["opaque", "opaque"]


@pytest.mark.parametrize(
    ("status", "code", "http_status", "error"),
    [
        (401, 4500, 401, "bad_token"),
        (403, 4501, 403, "forbidden"),
        (500, 4006, 503, "unavailable"),
        (302, 4006, 503, "unavailable"),
    ],
)
async def test_what_the_backend_says_is_what_clients_get(
    rig: InProcessBridge,
    backend: CallbackBackend,
    status: int,
    code: int,
    http_status: int,
    error: str,
) -> None:
    live = await rig.connect_welcomed("token=good")
    backend.status = status
    end = await (await rig.connect("token=opaque")).wait_closed()
    assert end.code == code
    assert (end.closing_frame["retry_after"] > 0) == (code == 4006)
    assert (await request_stream(rig, "token=opaque")).status == http_status
    assert (await live.request("token", token="newer"))["error"] == error
    rig.publish(accounts=["alice"], data=1)
    assert (await live.expect("event"))["data"] == 1, "the old grant stays in force"


async def test_a_grant_ends_after_expires_in(
    rig: InProcessBridge, backend: CallbackBackend
) -> None:
    backend.answer = {"account": "alice", "expires_in": 600}
    before = time.time()
    client = await rig.connect_welcomed("token=opaque")
    session = next(iter(rig.admission._expiry._heap))[2]
    assert session.permissions.expires_at is not None
    assert 599 < session.permissions.expires_at - before < 630
    assert client.welcome["expires"] is not None
    assert rig.expiry.pop_expired(before + 700) == [session]


async def test_an_account_named_by_the_client_is_a_bad_request(rig: InProcessBridge) -> None:
    assert (await request_stream(rig, "account=alice")).status == 400


# -- cookies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "headers", "is_handed_on"),
    [
        ([], {}, True),
        ([], {"sec-fetch-site": "same-origin"}, True),
        ([], {"sec-fetch-site": "none"}, True),
        ([], {"sec-fetch-site": "cross-site"}, False),
        ([], {"sec-fetch-site": "same-site"}, False),
        ([], {"origin": "https://push.example", "sec-fetch-site": "same-origin"}, True),
        ([SHOP], {"origin": SHOP, "sec-fetch-site": "cross-site"}, True),
        (["*"], {"origin": "https://evil.example"}, False),
        (["*", SHOP], {"origin": SHOP}, True),
        (["*"], {"origin": "https://push.example"}, True),
        (["null"], {"origin": "null"}, False),
    ],
    ids=str,
)
def test_cookies_are_handed_on_only_where_the_origin_is_allowed(
    origins: list[str], headers: dict[str, str], is_handed_on: bool
) -> None:
    sent = {"host": "push.example", "cookie": "sid=1", "authorization": "Basic eA==", **headers}
    policy = OriginPolicy(origins, uses_cookies=True)
    names = ["cookie", "authorization", "x-absent"]
    selected = policy.select_credentials(names, lambda name: [sent[name]] if name in sent else [])
    ambient = {"cookie": "sid=1", "authorization": "Basic eA=="}
    assert selected == (ambient if is_handed_on else {})
    sent["authorization"] = "Bearer token"
    selected = policy.select_credentials(names, lambda name: [sent[name]] if name in sent else [])
    assert selected["authorization"] == "Bearer token", "a page has to set it itself"


async def test_listed_origins_and_no_others_may_send_cookies(rig: InProcessBridge) -> None:
    answer = await request_stream(rig, "token=opaque", "HEAD", Origin=SHOP)
    assert answer.headers["access-control-allow-credentials"] == "true"
    answer = await request_stream(rig, "token=opaque", "OPTIONS", Origin=SHOP)
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_a_star_never_lets_cookies_in(open_rig: OpenBridge, asker: CallbackClient) -> None:
    gate, doors = CallbackAuthenticator(asker, ["cookie"]), OriginPolicy(["*"], uses_cookies=True)
    rig = await open_rig(gate=gate, doors=doors)
    answer = await request_stream(rig, "token=opaque", "HEAD", Origin=SHOP)
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "access-control-allow-credentials" not in answer.headers


async def test_with_tokens_nobody_may_send_cookies(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator(), doors=OriginPolicy([SHOP]))
    answer = await request_stream(rig, f"token={sign_token()}", "HEAD", Origin=SHOP)
    assert "access-control-allow-credentials" not in answer.headers


# -- `subscribe` -----------------------------------------------------------------------------------


@pytest.fixture
async def beside(open_rig: OpenBridge, asker: CallbackClient) -> InProcessBridge:
    tokens = shared_secret_authenticator(keeps_claims=True)
    return await open_rig(gate=ExtendingAuthenticator(tokens, asker, TOPICS))


async def test_what_a_token_covers_is_not_asked(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    token = sign_token(rooms=["lobby"])
    client = await beside.connect_welcomed(f"token={token}&rooms=lobby&topics=orders")
    assert (await client.request("subscribe", topics=["news"]))["ok"]
    assert backend.questions == []


async def test_what_a_token_does_not_cover_is_asked_at_the_connect(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    backend.answer = {"rooms": ["order:1"], "topics": ["audit"]}
    token = sign_token(rooms=["lobby"], plan="gold")
    client = await beside.connect_welcomed(f"token={token}&rooms=lobby,order:1&topics=audit,orders")
    assert client.welcome["rooms"] == ["lobby", "order:1"]
    assert client.welcome["topics"] == ["audit", "orders"]
    (question,) = backend.questions
    assert question.pop("claims")["plan"] == "gold"
    assert question == {
        "ask": "subscribe",
        "account": "alice",
        "topics": ["audit"],
        "rooms": ["order:1"],
    }


async def test_what_a_token_does_not_cover_is_asked_for_a_subscribe(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    backend.answer = {"rooms": ["order:*"]}
    client = await beside.connect_welcomed(f"token={sign_token()}")
    reply = await client.request("subscribe", rooms=["order:1"], id="s")
    assert (reply["ok"], reply["rooms"], reply["id"]) == (True, ["order:1"], "s")
    assert (await client.request("subscribe", rooms=["order:2"]))["ok"]
    assert len(backend.questions) == 1, "the pattern covers it now"
    beside.publish(rooms=["order:2"], data=1)
    assert (await client.expect("event"))["data"] == 1


@pytest.mark.parametrize(
    ("status", "code", "error"), [(403, 4501, "forbidden"), (500, 4006, "unavailable")]
)
async def test_a_no_and_no_answer_add_nothing(
    beside: InProcessBridge, backend: CallbackBackend, status: int, code: int, error: str
) -> None:
    backend.status, backend.answer = status, {"rooms": ["order:1"]}
    token = sign_token(rooms=["lobby"])
    end = await (await beside.connect(f"token={token}&rooms=order:1")).wait_closed()
    assert end.code == code
    client = await beside.connect_welcomed(f"token={token}")
    reply = await client.request("subscribe", rooms=["order:1"])
    assert (reply["ok"], reply["error"]) == (False, error)
    assert (await client.request("subscribe", rooms=["lobby"]))["ok"]


async def test_a_yes_to_something_else_is_forbidden(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    backend.answer = {"rooms": ["order:2"]}
    client = await beside.connect_welcomed(f"token={sign_token()}")
    assert (await client.request("subscribe", rooms=["order:1"]))["error"] == "forbidden"


async def test_a_topic_that_does_not_exist_is_not_asked_for(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    client = await beside.connect_welcomed(f"token={sign_token()}")
    assert (await client.request("subscribe", topics=["nothing"]))["error"] == "forbidden"
    assert backend.questions == []


async def test_a_newer_token_asks_again_for_what_the_client_has(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    backend.answer = {"rooms": ["order:1"], "expires_in": 60}
    client = await beside.connect_welcomed(f"token={sign_token()}&rooms=order:1")
    reply = await client.request("token", token=sign_token())
    assert (reply["ok"], reply["rooms"]) == (True, ["order:1"])
    backend.status = 403
    reply = await client.request("token", token=sign_token())
    assert (reply["ok"], reply["rooms"]) == (True, [])


async def test_few_questions_of_a_client_wait_at_a_time(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    client = await beside.connect_welcomed(f"token={sign_token()}")
    backend.may_answer.clear()
    backend.answer = {"rooms": ["order:**"]}
    for number in range(17):
        await client.send("subscribe", rooms=[f"order:{number}"], id=number)
    assert (await client.next_of("reply"))["error"] == "limit"
    backend.may_answer.set()
    for _ in range(16):
        assert (await client.next_of("reply"))["ok"]


async def test_who_leaves_while_the_backend_thinks_is_forgotten(
    beside: InProcessBridge, backend: CallbackBackend
) -> None:
    client = await beside.connect_welcomed(f"token={sign_token()}")
    backend.may_answer.clear()
    await client.send("subscribe", rooms=["order:1"])
    while not backend.questions:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    await client.connection.close()
    backend.may_answer.set()
    async with asyncio.timeout(5):
        while beside.websocket_endpoint._permission_updates._asking:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
