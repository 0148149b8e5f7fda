"""`GET /history`: what is asked for is what a connection would be sent, by the same rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.core.replay.history import HistoryUnavailable
from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.origins import OriginPolicy
from bridge.web.endpoints import history
from tests.core.factories import TIMESTAMP_TEXT, TOPIC_ID
from tests.harness.frame_schemas import check_frame
from tests.web.history_api import HistoryApiClient, history_api
from tests.web.publish_api import TOKEN, check_problem
from tests.web.token_signing import OTHER_SECRET, shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

CURSOR = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 5})})


@pytest.fixture
async def at() -> AsyncIterator[HistoryApiClient]:
    """Authentication is off."""
    async with history_api() as opened:
        yield opened


@pytest.fixture
async def strict() -> AsyncIterator[HistoryApiClient]:
    """A token is needed."""
    async with history_api(shared_secret_authenticator()) as opened:
        yield opened


# -- what is asked for -----------------------------------------------------------------------------


async def test_a_page_is_answered_with_the_frames_that_a_connection_gets(
    at: HistoryApiClient,
) -> None:
    answer = await at.get(account="alice")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    page = answer.json()
    assert list(page) == ["events", "cursor", "more", "gaps", "waiting"]
    for frame in (*page["events"], *page["gaps"]):
        check_frame(frame)
    (event,), (gap,) = page["events"], page["gaps"]
    assert (event["at"], event["to"], event["time"]) == ("orders:0:7", "all", TIMESTAMP_TEXT)
    assert b'"data":{"n": 1.0}}' in answer.content, "its digits as they were written"
    assert (gap["reason"], page["more"]) == ("expired", True)
    assert dict(decode_cursor(page["cursor"])["orders"].offsets) == {0: 8}


async def test_without_parameters_everything_that_is_not_private_is_asked_for(
    at: HistoryApiClient,
) -> None:
    asked = await at.get_request()
    reader = asked.session
    assert (asked.cursor, asked.since_ms, asked.max_events) == (None, None, 100)
    assert (set(reader.topics), dict(reader.rooms)) == ({"orders", "news"}, {})
    assert (reader.type_filter, reader.permissions.account) == (None, None)


async def test_every_parameter_is_obeyed(at: HistoryApiClient) -> None:
    asked = await at.get_request(
        account="alice", topics="orders,audit", rooms="a,b", types="x.*,y", cursor=CURSOR, limit="7"
    )
    reader = asked.session
    assert (reader.permissions.account, set(reader.topics)) == ("alice", {"orders", "audit"})
    assert (set(reader.rooms), asked.max_events) == ({"a", "b"}, 7)
    assert reader.type_filter is not None
    assert reader.type_filter.patterns == ("x.*", "y")
    assert asked.cursor == {"orders": TopicOffsets(TOPIC_ID, {0: 5})}


async def test_positions_may_follow_a_cursor(at: HistoryApiClient) -> None:
    asked = await at.get_request(cursor=f"{CURSOR},orders:0:8")
    assert asked.cursor == {"orders": TopicOffsets(TOPIC_ID, {0: 9})}


async def test_a_time_is_asked_for_in_milliseconds(at: HistoryApiClient) -> None:
    assert (await at.get_request(since="1970-01-01T01:00:00.5+01:00")).since_ms == 500


@pytest.mark.parametrize("limit", ["1", "1000", "007"])
async def test_a_limit_is_obeyed(at: HistoryApiClient, limit: str) -> None:
    assert (await at.get_request(limit=limit)).max_events == int(limit)


async def test_a_reader_is_no_connection(at: HistoryApiClient) -> None:
    ids = {(await at.get_request(account="alice")).session.id for _ in range(3)}
    assert len(ids) == 3, "nobody can guess it, and address an event to it"
    assert (at.admission.connection_count, at.hub.subscriptions.all_sessions) == (
        0,
        set(),
    )


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
    at: HistoryApiClient, parameters: dict[str, str], named: str
) -> None:
    assert named in check_problem(await at.get(**parameters), 400)["detail"]
    assert at.history.requests == []


@pytest.mark.parametrize("query", ["limit=1&limit=1", "topics=%ff", "rooms=a&rooms=b", "limit"])
async def test_a_query_that_can_not_be_read_is_a_400(at: HistoryApiClient, query: str) -> None:
    check_problem(await at.http.get(f"/history?{query}"), 400)


@pytest.mark.parametrize("token", [None, "nonsense", sign_token(OTHER_SECRET), sign_token(exp=1)])
async def test_without_a_good_credential_it_is_a_401(
    strict: HistoryApiClient, token: str | None
) -> None:
    answer = await strict.get(token)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert strict.history.requests == []


async def test_the_token_says_who_asks(strict: HistoryApiClient) -> None:
    assert (await strict.get_request(sign_token())).session.permissions.account == "alice"
    assert (
        await strict.get_request(token=sign_token(sub="bob"))
    ).session.permissions.account == "bob"


async def test_the_header_wins_over_the_parameter(strict: HistoryApiClient) -> None:
    answer = await strict.http.get(
        "/history",
        params={"token": sign_token(sub="bob")},
        headers={"Authorization": f"Bearer {sign_token()}"},
    )
    assert answer.status_code == 200
    assert strict.history.requests[-1].session.permissions.account == "alice"


async def test_who_has_a_token_does_not_say_who_it_is(strict: HistoryApiClient) -> None:
    assert (
        "account" in check_problem(await strict.get(sign_token(), account="alice"), 400)["detail"]
    )


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
    strict: HistoryApiClient, claims: Any, parameters: dict[str, str]
) -> None:
    check_problem(await strict.get(sign_token(**claims), **parameters), 403)
    assert strict.history.requests == []


async def test_what_the_grant_covers_may_be_asked_for(strict: HistoryApiClient) -> None:
    token = sign_token(rooms=["a:*"], topics=["audit", "news"])
    reader = (await strict.get_request(token, rooms="a:1", topics="audit")).session
    assert (set(reader.rooms), set(reader.topics)) == ({"a:1"}, {"audit"})
    assert (await strict.get_request(token)).session.topics == {"news", "audit"}


# -- operators -------------------------------------------------------------------------------------


async def test_an_admin_token_may_ask_for_any_account_topic_and_room(
    strict: HistoryApiClient,
) -> None:
    reader = (
        await strict.get_request(TOKEN, account="bob", topics="audit,news", rooms="a")
    ).session
    assert (reader.permissions.account, set(reader.topics)) == ("bob", {"audit", "news"})
    assert set(reader.rooms) == {"a"}
    assert (await strict.get_request(TOKEN)).session.permissions == Permissions(
        None, may_read_all_private=True
    )
    assert (await strict.get_request(TOKEN)).session.topics == {"orders", "news"}


async def test_an_unknown_topic_is_a_403_that_names_those_that_there_are(
    at: HistoryApiClient,
) -> None:
    detail = check_problem(await at.get(topics="nwes"), 403)["detail"]
    assert detail == "forbidden: there is no topic 'nwes' here; there are: news, orders"


async def test_even_an_admin_token_makes_no_topic(strict: HistoryApiClient) -> None:
    check_problem(await strict.get(TOKEN, topics="nothing"), 403)


async def test_an_admin_token_is_none_in_a_url(strict: HistoryApiClient) -> None:
    check_problem(await strict.get(token=TOKEN), 401)


async def test_where_no_admin_token_is_known_it_is_a_token_like_any() -> None:
    async with history_api(shared_secret_authenticator(), admins=False) as at:
        check_problem(await at.get(TOKEN), 401)
        check_problem(await at.get(TOKEN, account="bob"), 400)


# -- not now ---------------------------------------------------------------------------------------


def check_later(answer: httpx.Response) -> str:
    """Check that `answer` says when to come again; return why."""
    detail: str = check_problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    return detail


async def test_what_can_not_be_told_now_is_a_503(at: HistoryApiClient) -> None:
    at.history.error = HistoryUnavailable("Kafka does not answer now")
    assert "Kafka does not answer now" in check_later(await at.get())


async def test_an_instance_that_was_never_ready_that_leaves_or_is_too_stale_is_a_503() -> None:
    async with history_api(max_stale_seconds=5.0) as at:
        at.upstream.reports_ready = False
        assert "not caught up" in check_later(await at.get())
        at.upstream.reports_ready = True
        at.upstream.stale_for = 5.5
        assert "without Kafka" in check_later(await at.get())
        at.upstream.stale_for = 4.5
        await at.get_request()
        at.admission.is_draining = True
        assert "draining" in check_later(await at.get())


async def test_requests_count_among_the_clients_that_come() -> None:
    async with history_api(max_handshakes_per_second=2) as at:
        at.pool.now = lambda: 1e6  # time stands still
        assert [(await at.get()).status_code for _ in range(3)] == [200, 200, 503]


async def test_a_bug_is_a_500_that_says_nothing_of_it(at: HistoryApiClient) -> None:
    at.history.error = ZeroDivisionError("an inner secret")
    assert "secret" not in check_problem(await at.get(), 500)["detail"]
    at.history.error = None
    assert [(await at.get()).status_code for _ in range(history.MAX_CONCURRENT_REQUESTS + 1)] == [
        200
    ] * 5


# -- other origins ---------------------------------------------------------------------------------

HERE = "https://shop.example"


async def test_a_page_of_an_allowed_origin_may_read_the_answer_and_errors() -> None:
    async with history_api(origins=OriginPolicy([HERE])) as at:
        for query, status in ("", 200), ("?limit=0", 400):
            answer = await at.http.get(f"/history{query}", headers={"Origin": HERE})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == HERE
            assert answer.headers["vary"] == "Origin"


async def test_a_page_of_another_origin_is_a_403() -> None:
    async with history_api(origins=OriginPolicy([HERE])) as at:
        answer = await at.http.get("/history", headers={"Origin": "https://evil.example"})
        check_problem(answer, 403)
        assert "access-control-allow-origin" not in answer.headers
        assert at.history.requests == []


async def test_a_browser_is_told_beforehand_what_it_may_send() -> None:
    async with history_api(origins=OriginPolicy([HERE])) as at:
        answer = await at.http.options("/history", headers={"Origin": HERE})
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
        assert "Authorization" in answer.headers["access-control-allow-headers"].split(", ")
        check_problem(await at.http.options("/history", headers={"Origin": "https://e.com"}), 403)
