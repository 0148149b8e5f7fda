"""When a token is renewed, and when a silent server is asked and left."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.timing import Keepalive, RenewalSchedule, jwt_expiry, timestamp_seconds

NINE = "2026-11-21T09:00:00Z"
AT_NINE = 1795251600.0


def jwt(claims: object) -> str:
    told = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{told}.c2ln"


# -- renewal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [NINE, "2026-11-21T09:00:00.000Z", "2026-11-21t09:00:00z", "2026-11-21T10:00:00+01:00"]
)
def test_time_is_parsed_in_any_form(text: str) -> None:
    assert timestamp_seconds(text) == AT_NINE


def test_token_is_renewed_at_four_fifths_of_its_life() -> None:
    assert RenewalSchedule(NINE, AT_NINE - 1000).delay_seconds(AT_NINE - 1000) == 800
    assert RenewalSchedule(NINE, AT_NINE - 1000).delay_seconds(AT_NINE - 100) == 80


@given(st.floats(-100, 6))
def test_renewals_are_at_least_five_seconds_apart(left: float) -> None:
    assert RenewalSchedule(NINE, AT_NINE - left).delay_seconds(AT_NINE - left) == 5


def test_token_without_expiry_lives_as_long_as_the_first() -> None:
    renewal = RenewalSchedule(NINE, AT_NINE - 1000)
    renewal.set_token("opaque", AT_NINE - 200)
    assert renewal.delay_seconds(AT_NINE - 200) == 800


def test_expiry_of_a_jwt_is_used() -> None:
    renewal = RenewalSchedule(NINE, AT_NINE - 1000)
    renewal.set_token(jwt({"exp": AT_NINE + 300}), AT_NINE - 200)
    assert renewal.delay_seconds(AT_NINE - 200) == 400


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "a.é.c", jwt([]), jwt({}), jwt({"exp": None}), jwt({"exp": "x"})]
)
def test_unreadable_expiry_is_no_error(token: str) -> None:
    assert jwt_expiry(token) is None


# -- silence ---------------------------------------------------------------------------------------


def test_silent_server_is_probed_once_then_dropped() -> None:
    silence = Keepalive(25, 0)
    assert silence.seconds_until_due(0) == 51
    assert not silence.probe_if_due(50.9)
    assert silence.probe_if_due(51)
    assert not silence.probe_if_due(52)
    assert silence.seconds_until_due(52) == 23
    assert not silence.has_timed_out(74.9)
    assert silence.has_timed_out(75)


def test_every_frame_restarts_the_limits() -> None:
    silence = Keepalive(25, 0)
    assert silence.probe_if_due(51)
    silence.mark_received(60)
    assert not silence.has_timed_out(100)
    assert silence.seconds_until_due(60) == 51
    assert silence.probe_if_due(111)


@given(st.floats(0.01, 1))
def test_server_has_at_least_a_second_to_respond(heartbeat: float) -> None:
    silence = Keepalive(heartbeat, 0)
    asked = silence.seconds_until_due(0)
    assert silence.probe_if_due(asked)
    assert silence.seconds_until_due(asked) >= 0.999


def test_woken_client_waits_three_seconds() -> None:
    silence = Keepalive(25, 0)
    silence.probe_now(10)
    assert not silence.probe_if_due(10)
    assert silence.seconds_until_due(10) == 3
    assert silence.has_timed_out(13)
    silence.mark_received(12)
    assert not silence.has_timed_out(60)
