"""Published keys: fetched once for many, looked for when unknown, kept in an outage."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import AuthRefused, Credentials
from bridge.web.auth.tokens import jwks as keeping
from bridge.web.auth.tokens.jwks import JwksCache
from bridge.web.auth.tokens.jwt import JwtAuthenticator
from tests.web.authenticator_checks import (
    auth_error_reason,
    authenticated,
    late_error_reason,
    ready_authenticator,
)
from tests.web.token_signing import JwksServer, ec_key, jwk_set, public_jwk, rsa_key, sign_token

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge

RSA = ("RS256",)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the clock is told of by the tests that are about it."""
    monkeypatch.setattr(keeping, "MIN_FETCH_INTERVAL_SECONDS", 0.0)


async def judged(gate: JwtAuthenticator, token: str) -> str:
    """The account that `gate` makes of `token`, once it has what it needs."""
    return str((await authenticated(gate, token)).account)


async def told_to_come_back(gate: JwtAuthenticator, token: str) -> None:
    with pytest.raises(AuthRefused) as refused:
        await judged(gate, token)
    assert (refused.value.close.code, refused.value.close.should_reconnect) == (4006, True)
    assert refused.value.close.retry_after > 0


# -- keeping them ----------------------------------------------------------------------------------


async def test_a_key_that_is_here_is_never_waited_for() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = await ready_authenticator(publisher, RSA)
    for kid in ("one", None):
        permissions = gate.authenticate(Credentials(sign_token(rsa_key(), "RS256", kid)))
        assert isinstance(permissions, Permissions)
    assert publisher.request_count == 1


async def test_many_who_wait_for_a_key_cause_one_look() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = JwtAuthenticator(publisher.new_jwks(), RSA)
    token = sign_token(rsa_key(), "RS256", "one")
    assert await asyncio.gather(*(judged(gate, token) for _ in range(100))) == ["alice"] * 100
    assert publisher.request_count == 1


async def test_one_who_gives_up_takes_no_key_from_the_others() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = JwtAuthenticator(publisher.new_jwks(), RSA)
    token = sign_token(rsa_key(), "RS256", "one")
    stays, gives_up = (asyncio.ensure_future(judged(gate, token)) for _ in range(2))
    await asyncio.sleep(0)
    gives_up.cancel()
    assert await stays == "alice"


async def test_a_rotated_key_is_found_and_the_old_one_is_refused() -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    gate = await ready_authenticator(publisher, RSA)
    old, new = sign_token(rsa_key(1), "RS256", "one"), sign_token(rsa_key(2), "RS256", "two")
    assert await judged(gate, old) == "alice"
    publisher.body = jwk_set(public_jwk(rsa_key(2), "two"))
    assert await judged(gate, new) == "alice"
    assert publisher.request_count == 2
    assert "key is unknown" in await late_error_reason(gate, old), "it may have come back"


async def test_a_key_that_is_published_nowhere_is_refused() -> None:
    gate = await ready_authenticator(JwksServer(public_jwk(rsa_key(1), "one")), RSA)
    for token in (sign_token(rsa_key(2), "RS256", "two"), sign_token(rsa_key(1), "RS256", "")):
        assert "key is unknown" in await late_error_reason(gate, token)


async def test_another_key_under_a_published_name_is_refused() -> None:
    gate = await ready_authenticator(JwksServer(public_jwk(rsa_key(1), "one")), RSA)
    for kid in ("one", None):
        assert "signature" in await late_error_reason(gate, sign_token(rsa_key(2), "RS256", kid))


async def test_a_name_that_two_kinds_of_key_have_is_good_for_both() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"), public_jwk(ec_key(), "one"))
    gate = await ready_authenticator(publisher, ("RS256", "ES256"))
    assert await judged(gate, sign_token(rsa_key(), "RS256", "one")) == "alice"
    assert await judged(gate, sign_token(ec_key(), "ES256", "one")) == "alice"


async def test_keys_without_names_are_all_tried() -> None:
    gate = await ready_authenticator(
        JwksServer(public_jwk(rsa_key(1)), public_jwk(rsa_key(2))), RSA
    )
    for number in (1, 2):
        for kid in ("any", None):
            assert await judged(gate, sign_token(rsa_key(number), "RS256", kid)) == "alice"
    assert "signature" in await late_error_reason(gate, sign_token(rsa_key(3), "RS256"))


async def test_a_key_is_good_for_its_own_algorithm_only() -> None:
    gate = await ready_authenticator(
        JwksServer(public_jwk(rsa_key(), "one", alg="RS512")), ("RS256", "RS512")
    )
    assert await judged(gate, sign_token(rsa_key(), "RS512", "one")) == "alice"
    wrong = sign_token(rsa_key(), "RS256", "one")
    assert "key is unknown" in await late_error_reason(gate, wrong)


async def test_an_algorithm_that_is_not_allowed_causes_no_look() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = await ready_authenticator(publisher, RSA)
    for token in (sign_token(rsa_key(), "RS512", "two"), "nonsense", None):
        auth_error_reason(gate, token)
    assert publisher.request_count == 1


# -- when the publisher is away --------------------------------------------------------------------


async def test_before_the_first_keys_clients_are_told_to_come_back() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    text, publisher.body = publisher.body, None
    gate = JwtAuthenticator(publisher.new_jwks(), RSA)
    token = sign_token(rsa_key(), "RS256", "one")
    await told_to_come_back(gate, token)
    publisher.body = text
    assert await judged(gate, token) == "alice"


async def test_what_is_no_token_is_refused_whether_there_are_keys_or_not() -> None:
    publisher = JwksServer()
    publisher.body = None
    gate = JwtAuthenticator(publisher.new_jwks(), RSA)
    for token in (None, "nonsense", sign_token()):
        auth_error_reason(gate, token)


async def test_known_keys_stay_good_while_the_publisher_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    gate = await ready_authenticator(publisher, RSA)
    publisher.body = None
    unknown = sign_token(rsa_key(2), "RS256", "two")
    for _ in range(3):
        await told_to_come_back(gate, unknown)
    assert await judged(gate, sign_token(rsa_key(1), "RS256", "one")) == "alice"
    await told_to_come_back(gate, sign_token(rsa_key(2), "RS256", "one"))
    said = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(said) == 1, "an outage is said once"
    assert "cached keys stay valid" in said[0].getMessage()
    assert "https://id.example/jwks.json" in said[0].getMessage()


@pytest.mark.parametrize("text", [b"", b"[]", b"<html>", b'{"keys": []}', b'{"keys": 5}', b"{}"])
async def test_what_is_no_key_set_takes_no_key_away(text: bytes) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    gate = await ready_authenticator(publisher, RSA)
    publisher.body = text
    await told_to_come_back(gate, sign_token(rsa_key(2), "RS256", "two"))
    assert await judged(gate, sign_token(rsa_key(1), "RS256", "one")) == "alice"


async def test_unknown_names_ask_the_publisher_once_in_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "MIN_FETCH_INTERVAL_SECONDS", 3600.0)
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = await ready_authenticator(publisher, RSA)
    tokens = [sign_token(rsa_key(), "RS256", str(number)) for number in range(50)]
    tasks = [asyncio.ensure_future(judged(gate, token)) for token in tokens]
    for _ in range(10):
        await asyncio.sleep(0)
    assert publisher.request_count == 1
    for task in tasks:
        task.cancel()


async def test_keys_are_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "RETRY_SECONDS", 0.0)
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    keys = publisher.new_jwks()
    running = asyncio.create_task(keys.run())
    async with asyncio.timeout(20):
        while not keys.candidate_keys("one", "RS256"):  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0)
        publisher.body = None
        asked = publisher.request_count
        while publisher.request_count < asked + 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        publisher.body = jwk_set(public_jwk(rsa_key(2), "two"))
        while not keys.candidate_keys("two", "RS256"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


# -- keys that change ------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["one", None])
async def test_a_key_rotated_without_a_new_kid_is_found_and_the_withdrawn_one_stops_counting(
    kid: str | None,
) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), kid))
    gate = await ready_authenticator(publisher, RSA)
    publisher.body = jwk_set(public_jwk(rsa_key(2), kid))
    old, new = (sign_token(rsa_key(number), "RS256", kid) for number in (1, 2))
    assert await judged(gate, new) == "alice"
    assert publisher.request_count == 2
    assert "signature" in await late_error_reason(gate, old)


async def test_one_of_several_keys_without_kid_is_replaced() -> None:
    publisher = JwksServer(public_jwk(rsa_key(1)), public_jwk(rsa_key(2)))
    gate = await ready_authenticator(publisher, RSA)
    publisher.body = jwk_set(public_jwk(rsa_key(2)), public_jwk(rsa_key(3)))
    for number in (3, 2):
        assert await judged(gate, sign_token(rsa_key(number), "RS256")) == "alice"
    assert "signature" in await late_error_reason(gate, sign_token(rsa_key(1), "RS256"))


async def test_a_kid_that_changes_its_kind_of_key_is_looked_up_anew() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    gate = await ready_authenticator(publisher, ("RS256", "ES256"))
    publisher.body = jwk_set(public_jwk(ec_key(), "one"))
    assert await judged(gate, sign_token(ec_key(), "ES256", "one")) == "alice"


async def test_a_fetch_that_began_before_the_client_refuses_nobody_for_good() -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    answers: list[asyncio.Future[bytes]] = []

    async def read() -> bytes:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    gate = JwtAuthenticator(JwksCache("https://id.example", read), RSA)
    first = asyncio.ensure_future(judged(gate, sign_token(rsa_key(1), "RS256", "one")))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(judged(gate, sign_token(rsa_key(2), "RS256", "two")))
    while not answers:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    assert publisher.body is not None
    answers[0].set_result(publisher.body)
    assert await first == "alice"
    while len(answers) < 2 and not late.done():  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    assert not late.done()
    answers[1].set_result(jwk_set(public_jwk(rsa_key(2), "two")))
    assert await late == "alice"


async def test_tokens_that_no_key_signed_are_not_verified_again_with_the_same_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    gate = await ready_authenticator(publisher, RSA)
    verified: list[str] = []
    verify = JwtAuthenticator._verify

    def count(self: JwtAuthenticator, token: str, *header: Any) -> bytes | None:
        verified.append(token)
        return verify(self, token, *header)

    monkeypatch.setattr(JwtAuthenticator, "_verify", count)
    forged = [sign_token(rsa_key(2), "RS256", "one") for _ in range(20)]
    await asyncio.gather(*(late_error_reason(gate, token) for token in forged))
    assert (len(verified), publisher.request_count) == (20, 2)


async def test_a_publisher_that_does_not_answer_holds_a_client_for_some_seconds_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "MAX_WAIT_SECONDS", 0.01)

    async def read() -> bytes:
        await asyncio.Event().wait()
        return b""

    keys = JwksCache("https://id.example", read)
    await told_to_come_back(JwtAuthenticator(keys, RSA), sign_token(rsa_key(), "RS256", "one"))
    assert keys._fetch_task is not None
    keys._fetch_task.cancel()


async def test_a_token_frame_with_a_new_key_is_judged_by_newer_keys(open_rig: OpenBridge) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    rig = await open_rig(gate=await ready_authenticator(publisher, RSA))
    client = await rig.connect_welcomed(f"token={sign_token(rsa_key(1), 'RS256', 'one')}")
    publisher.body = None
    renewed = sign_token(rsa_key(2), "RS256", "one", rooms=["lobby"])
    reply = await client.request("token", token=renewed)
    assert (reply["ok"], reply["error"]) == (False, "unavailable")
    publisher.body = jwk_set(public_jwk(rsa_key(2), "one"))
    assert (await client.request("token", token=renewed))["ok"]
    assert (await client.request("subscribe", rooms=["lobby"]))["ok"]
    reply = await client.request("token", token=sign_token(rsa_key(1), "RS256", "one"))
    assert (reply["ok"], reply["error"]) == (False, "bad_token")


async def test_a_withdrawn_key_leaves_its_clients_connected(open_rig: OpenBridge) -> None:
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    rig = await open_rig(gate=await ready_authenticator(publisher, RSA))
    client = await rig.connect_welcomed(f"token={sign_token(rsa_key(1), 'RS256', 'one')}")
    publisher.body = jwk_set(public_jwk(rsa_key(2), "one"))
    await rig.connect_welcomed(f"token={sign_token(rsa_key(2), 'RS256', 'one', sub='bob')}")
    rig.publish(accounts=["alice"], data=1)
    assert (await client.expect("event"))["data"] == 1


# -- at the door -----------------------------------------------------------------------------------


async def test_a_client_waits_for_its_key_and_loses_nothing_that_it_says(
    open_rig: OpenBridge,
) -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    may_answer = asyncio.Event()

    async def read() -> bytes:
        await may_answer.wait()
        return await publisher.read()

    rig = await open_rig(gate=JwtAuthenticator(JwksCache("https://id.example", read), RSA))
    token = sign_token(rsa_key(), "RS256", "one", rooms=["lobby"])
    by_url, by_hello = await rig.connect(f"token={token}"), await rig.connect("hello=1")
    await by_hello.send("hello", token=token)
    gone = await rig.connect(f"token={token}")
    for client in (by_url, by_hello):
        await client.send("subscribe", rooms=["lobby"], id="s")
    await gone.connection.close()
    may_answer.set()
    for client in (by_url, by_hello):
        assert (await client.expect("welcome"))["account"] == "alice"
        assert (await client.expect("reply"))["rooms"] == ["lobby"]
    assert publisher.request_count == 1


async def test_while_there_are_no_keys_a_client_is_told_4006(open_rig: OpenBridge) -> None:
    publisher = JwksServer()
    publisher.body = None
    rig = await open_rig(gate=JwtAuthenticator(publisher.new_jwks(), RSA))
    end = await (await rig.connect(f"token={sign_token(rsa_key(), 'RS256', 'one')}")).wait_closed()
    assert (end.code, end.closing_frame["reconnect"]) == (4006, True)
    assert end.closing_frame["retry_after"] > 0
    end = await (await rig.connect("token=nonsense")).wait_closed()
    assert end.code == 4500
