"""`GET /history`: what is asked for is what a connection would be sent, by the same rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.cursor import Place, read_cursor, write_cursor
from bridge.core.replay.history import NotNow
from bridge.core.sessions.permissions import Grant
from bridge.web.auth.origins import Doors
from bridge.web.endpoints import history
from tests.core.given import LIFE, TIMESTAMP_TEXT
from tests.harness.frames import check_frame
from tests.web.asking import Desk, desk
from tests.web.posting import TOKEN, check_problem
from tests.web.signing import OTHER_SECRET, shared_gate, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

CURSOR = write_cursor({"orders": Place(LIFE, {0: 5})})


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    """Authentication is off."""
    async with desk() as opened:
        yield opened


@pytest.fixture
async def strict() -> AsyncIterator[Desk]:
    """A token is needed."""
    async with desk(shared_gate()) as opened:
        yield opened


# -- what is asked for -----------------------------------------------------------------------------


async def test_a_page_is_answered_with_the_frames_that_a_connection_gets(at: Desk) -> None:
    answer = await at.ask(account="alice")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    page = answer.json()
    assert list(page) == ["events", "cursor", "more", "gaps"]
    for frame in (*page["events"], *page["gaps"]):
        check_frame(frame)
    (event,), (gap,) = page["events"], page["gaps"]
    assert (event["at"], event["to"], event["time"]) == ("orders:0:7", "all", TIMESTAMP_TEXT)
    assert b'"data":{"n": 1.0}}' in answer.content, "its digits as they were written"
    assert (gap["reason"], page["more"]) == ("expired", True)
    assert dict(read_cursor(page["cursor"])["orders"].offsets) == {0: 8}


async def test_without_parameters_everything_that_is_not_private_is_asked_for(at: Desk) -> None:
    asked = await at.asked()
    reader = asked.reader
    assert (asked.cursor, asked.since, asked.limit) == (None, None, 100)
    assert (set(reader.topics), dict(reader.rooms)) == ({"orders", "news"}, {})
    assert (reader.types, reader.grant.account) == (None, None)


async def test_every_parameter_is_obeyed(at: Desk) -> None:
    asked = await at.asked(
        account="alice", topics="orders,audit", rooms="a,b", types="x.*,y", cursor=CURSOR, limit="7"
    )
    reader = asked.reader
    assert (reader.grant.account, set(reader.topics)) == ("alice", {"orders", "audit"})
    assert (set(reader.rooms), asked.limit) == ({"a", "b"}, 7)
    assert reader.types is not None
    assert reader.types.wanted == ("x.*", "y")
    assert asked.cursor == {"orders": Place(LIFE, {0: 5})}


async def test_positions_may_follow_a_cursor(at: Desk) -> None:
    asked = await at.asked(cursor=f"{CURSOR},orders:0:8")
    assert asked.cursor == {"orders": Place(LIFE, {0: 9})}


async def test_a_time_is_asked_for_in_milliseconds(at: Desk) -> None:
    assert (await at.asked(since="1970-01-01T01:00:00.5+01:00")).since == 500


@pytest.mark.parametrize("limit", ["1", "1000", "007"])
async def test_a_limit_is_obeyed(at: Desk, limit: str) -> None:
    assert (await at.asked(limit=limit)).limit == int(limit)


async def test_a_reader_is_no_connection(at: Desk) -> None:
    ids = {(await at.asked(account="alice")).reader.id for _ in range(3)}
    assert len(ids) == 3, "nobody can guess it, and address an event to it"
    assert (at.entrance.count, at.entrance.hub.interest.everybody) == (0, set())


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        *(({"limit": limit}, "limit") for limit in ("0", "1001", "-1", "1.0", "ten", "٣", "99999")),
        ({"limit": ""}, "limit"),
        ({"topics": ""}, "topics"),
        ({"topics": "or:ders"}, "topics"),
        ({"topics": "a,b,c,d"}, "TOPICS"),
        ({"rooms": "a,,b"}, "rooms"),
        ({"rooms": "a,b,c,d"}, "ROOMS"),
        ({"types": "a*b"}, "types"),
        ({"account": "a*"}, "account"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": f"{CURSOR},news:0:1"}, "cursor"),
        ({"since": "yesterday"}, "since"),
        ({"since": TIMESTAMP_TEXT, "cursor": CURSOR}, "since"),
        ({"hello": "1"}, "hello"),
        ({"surprise": "1"}, "surprise"),
    ],
)
async def test_a_bad_request_is_a_400_that_names_the_parameter(
    at: Desk, parameters: dict[str, str], named: str
) -> None:
    assert named in check_problem(await at.ask(**parameters), 400)["detail"]
    assert at.archive.asked == []


@pytest.mark.parametrize("query", ["limit=1&limit=1", "topics=%ff", "rooms=a&rooms=b", "limit"])
async def test_a_query_that_can_not_be_read_is_a_400(at: Desk, query: str) -> None:
    check_problem(await at.http.get(f"/history?{query}"), 400)


@pytest.mark.parametrize("token", [None, "nonsense", signed(OTHER_SECRET), signed(exp=1)])
async def test_without_a_good_credential_it_is_a_401(strict: Desk, token: str | None) -> None:
    answer = await strict.ask(token)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert strict.archive.asked == []


async def test_the_token_says_who_asks(strict: Desk) -> None:
    assert (await strict.asked(signed())).reader.grant.account == "alice"
    assert (await strict.asked(token=signed(sub="bob"))).reader.grant.account == "bob"


async def test_the_header_wins_over_the_parameter(strict: Desk) -> None:
    answer = await strict.http.get(
        "/history",
        params={"token": signed(sub="bob")},
        headers={"Authorization": f"Bearer {signed()}"},
    )
    assert answer.status_code == 200
    assert strict.archive.asked[-1].reader.grant.account == "alice"


async def test_who_has_a_token_does_not_say_who_it_is(strict: Desk) -> None:
    assert "account" in check_problem(await strict.ask(signed(), account="alice"), 400)["detail"]


@pytest.mark.parametrize(
    ("claims", "parameters"),
    [
        ({}, {"rooms": "a"}),
        ({"rooms": ["a"]}, {"rooms": "a,b"}),
        ({"topics": ["news"]}, {"topics": "news,orders"}),
        ({}, {"topics": "audit"}),
        ({}, {"topics": "nothing"}),
    ],
)
async def test_what_the_grant_does_not_cover_refuses_the_whole_request(
    strict: Desk, claims: Any, parameters: dict[str, str]
) -> None:
    check_problem(await strict.ask(signed(**claims), **parameters), 403)
    assert strict.archive.asked == []


async def test_what_the_grant_covers_may_be_asked_for(strict: Desk) -> None:
    token = signed(rooms=["a:*"], topics=["audit", "news"])
    reader = (await strict.asked(token, rooms="a:1", topics="audit")).reader
    assert (set(reader.rooms), set(reader.topics)) == ({"a:1"}, {"audit"})
    assert (await strict.asked(token)).reader.topics == {"news", "audit"}


# -- operators -------------------------------------------------------------------------------------


async def test_an_admin_token_may_ask_for_any_account_topic_and_room(strict: Desk) -> None:
    reader = (await strict.asked(TOKEN, account="bob", topics="audit,news", rooms="a")).reader
    assert (reader.grant.account, set(reader.topics)) == ("bob", {"audit", "news"})
    assert set(reader.rooms) == {"a"}
    assert (await strict.asked(TOKEN)).reader.grant == Grant(None, names_private=True)
    assert (await strict.asked(TOKEN)).reader.topics == {"orders", "news"}


async def test_even_an_admin_token_makes_no_topic(strict: Desk) -> None:
    check_problem(await strict.ask(TOKEN, topics="nothing"), 403)


async def test_an_admin_token_is_none_in_a_url(strict: Desk) -> None:
    check_problem(await strict.ask(token=TOKEN), 401)


async def test_where_no_admin_token_is_known_it_is_a_token_like_any() -> None:
    async with desk(shared_gate(), admins=False) as at:
        check_problem(await at.ask(TOKEN), 401)
        check_problem(await at.ask(TOKEN, account="bob"), 400)


# -- not now ---------------------------------------------------------------------------------------


def check_later(answer: httpx.Response) -> str:
    """Check that `answer` says when to come again; return why."""
    detail: str = check_problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    return detail


async def test_what_can_not_be_told_now_is_a_503(at: Desk) -> None:
    at.archive.error = NotNow("Kafka does not answer now")
    assert "Kafka does not answer now" in check_later(await at.ask())


async def test_an_instance_that_was_never_ready_that_leaves_or_is_too_stale_is_a_503() -> None:
    async with desk(stale=5.0) as at:
        at.upstream.is_ready = False
        assert "not caught up" in check_later(await at.ask())
        at.upstream.is_ready = True
        at.upstream.stale_for = 5.5
        assert "without Kafka" in check_later(await at.ask())
        at.upstream.stale_for = 4.5
        await at.asked()
        at.entrance.draining = True
        assert "draining" in check_later(await at.ask())


async def test_requests_count_among_the_clients_that_come() -> None:
    async with desk(handshakes_per_second=2) as at:
        at.sockets.now = lambda: 1e6  # time stands still
        assert [(await at.ask()).status_code for _ in range(3)] == [200, 200, 503]


async def test_a_bug_is_a_500_that_says_nothing_of_it(at: Desk) -> None:
    at.archive.error = ZeroDivisionError("an inner secret")
    assert "secret" not in check_problem(await at.ask(), 500)["detail"]
    at.archive.error = None
    assert [(await at.ask()).status_code for _ in range(history.AT_A_TIME + 1)] == [200] * 5


# -- other origins ---------------------------------------------------------------------------------

HERE = "https://shop.example"


async def test_a_page_of_an_allowed_origin_may_read_the_answer_and_errors() -> None:
    async with desk(doors=Doors([HERE])) as at:
        for query, status in ("", 200), ("?limit=0", 400):
            answer = await at.http.get(f"/history{query}", headers={"Origin": HERE})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == HERE
            assert answer.headers["vary"] == "Origin"


async def test_a_page_of_another_origin_is_a_403() -> None:
    async with desk(doors=Doors([HERE])) as at:
        answer = await at.http.get("/history", headers={"Origin": "https://evil.example"})
        check_problem(answer, 403)
        assert "access-control-allow-origin" not in answer.headers
        assert at.archive.asked == []


async def test_a_browser_is_told_beforehand_what_it_may_send() -> None:
    async with desk(doors=Doors([HERE])) as at:
        answer = await at.http.options("/history", headers={"Origin": HERE})
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-methods"] == "GET"
        assert answer.headers["access-control-allow-headers"] == "Authorization"
        check_problem(await at.http.options("/history", headers={"Origin": "https://e.com"}), 403)
