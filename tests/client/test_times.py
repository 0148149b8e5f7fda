"""When a token is renewed, and when a silent server is asked and left."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.timing import Renewal, Silence, moment, told_end

NINE = "2026-11-21T09:00:00Z"
AT_NINE = 1795251600.0


def jwt(claims: object) -> str:
    told = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{told}.c2ln"


# -- renewal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [NINE, "2026-11-21T09:00:00.000Z", "2026-11-21t09:00:00z", "2026-11-21T10:00:00+01:00"]
)
def test_a_time_is_read_whatever_its_form(text: str) -> None:
    assert moment(text) == AT_NINE


def test_a_token_is_renewed_at_four_fifths_of_what_is_left() -> None:
    assert Renewal(NINE, AT_NINE - 1000).wait(AT_NINE - 1000) == 800
    assert Renewal(NINE, AT_NINE - 1000).wait(AT_NINE - 100) == 80


@given(st.floats(-100, 6))
def test_never_more_often_than_each_five_seconds(left: float) -> None:
    assert Renewal(NINE, AT_NINE - left).wait(AT_NINE - left) == 5


def test_a_token_that_tells_nothing_lives_as_long_as_the_first() -> None:
    renewal = Renewal(NINE, AT_NINE - 1000)
    renewal.renewed("opaque", AT_NINE - 200)
    assert renewal.wait(AT_NINE - 200) == 800


def test_a_token_that_tells_its_end_is_believed() -> None:
    renewal = Renewal(NINE, AT_NINE - 1000)
    renewal.renewed(jwt({"exp": AT_NINE + 300}), AT_NINE - 200)
    assert renewal.wait(AT_NINE - 200) == 400


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "a.é.c", jwt([]), jwt({}), jwt({"exp": None}), jwt({"exp": "x"})]
)
def test_what_tells_no_end_is_no_trouble(token: str) -> None:
    assert told_end(token) is None


# -- silence ---------------------------------------------------------------------------------------


def test_a_server_is_asked_once_and_then_left() -> None:
    silence = Silence(25, 0)
    assert silence.until(0) == 51
    assert not silence.asks(50.9)
    assert silence.asks(51)
    assert not silence.asks(52)
    assert silence.until(52) == 23
    assert not silence.is_dead(74.9)
    assert silence.is_dead(75)


def test_whatever_is_heard_begins_anew() -> None:
    silence = Silence(25, 0)
    assert silence.asks(51)
    silence.heard(60)
    assert not silence.is_dead(100)
    assert silence.until(60) == 51
    assert silence.asks(111)


@given(st.floats(0.01, 1))
def test_however_short_its_heartbeats_a_server_has_a_second_to_answer(heartbeat: float) -> None:
    silence = Silence(heartbeat, 0)
    asked = silence.until(0)
    assert silence.asks(asked)
    assert silence.until(asked) >= 0.999


def test_a_client_that_was_woken_gives_three_seconds() -> None:
    silence = Silence(25, 0)
    silence.woken(10)
    assert not silence.asks(10)
    assert silence.until(10) == 3
    assert silence.is_dead(13)
    silence.heard(12)
    assert not silence.is_dead(60)
