"""Who may come in by which door, and who they are then."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.protocol import close_codes
from bridge.web.auth.authenticator import AllowAll, AuthRefused, Credentials
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("bridge.example", "https://bridge.example"),
        ("bridge.example", "http://bridge.example"),
        ("bridge.example:8080", "http://bridge.example:8080"),
        ("Bridge.Example", "https://bridge.example"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("bridge.example", None),
        ("bridge.example:443", "https://bridge.example"),
        ("bridge.example", "https://bridge.example:443"),
        ("bridge.example:80", "http://bridge.example"),
        ("[::1]", "http://[::1]"),
    ],
)
def test_by_default_the_same_origin_and_no_origin_are_let_in(host, origin):
    assert OriginPolicy().allows(host, origin)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("bridge.example", "https://evil.example"),
        ("bridge.example", "https://bridge.example.evil.example"),
        ("bridge.example", "https://evil.example/bridge.example"),
        ("bridge.example:8080", "http://bridge.example:8081"),
        ("bridge.example:8080", "http://bridge.example"),
        ("bridge.example", "null"),
        ("bridge.example", ""),
        ("", "null"),
        ("", ""),
        ("bridge.example", "http://["),
        ("bridge.example", "ftp://bridge.example"),
        ("bridge.example", "capacitor://bridge.example"),
        ("bridge.example", "chrome-extension://bridge.example"),
        ("bridge.example", "//bridge.example"),
        ("bridge.example", "bridge.example"),
        ("bridge.example:443", "http://bridge.example"),
        ("bridge.example:80", "https://bridge.example"),
        ("bridge.example", "https://bridge.example/"),
        ("bridge.example", "https://user@bridge.example"),
        ("bridge.example:99999", "https://bridge.example"),
        ("user@bridge.example", "https://bridge.example:1"),
    ],
)
def test_by_default_every_other_origin_is_kept_out(host, origin):
    assert not OriginPolicy().allows(host, origin)


def test_a_list_of_origins_says_which_pages_are_let_in():
    doors = OriginPolicy(["https://shop.example", "https://office.example:8443"])
    assert doors.allows("bridge.example", "https://shop.example")
    assert doors.allows("bridge.example", "https://office.example:8443")
    assert doors.allows("bridge.example", None)
    assert not doors.allows("bridge.example", "http://shop.example")
    assert not doors.allows("bridge.example", "https://office.example")


def test_a_star_among_the_origins_lets_in_every_page():
    assert OriginPolicy(["*"]).allows("bridge.example", "https://anywhere.example")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "127.0.0.2", "app.localhost:1"],
)
def test_a_loopback_host_is_let_in_in_dev(host):
    assert OriginPolicy(hosts=LOOPBACK_HOSTS).allows(host, None)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil", "", "[", "@"],
)
def test_another_host_is_kept_out_in_dev_as_dns_rebinding_would_send_it(host):
    assert not OriginPolicy(hosts=LOOPBACK_HOSTS).allows(host, None)
    assert not OriginPolicy(hosts=LOOPBACK_HOSTS).allows(host, f"http://{host}")


@example("[", "http://[")
@given(st.text(max_size=20), st.none() | st.text(max_size=20) | st.just("http://a"))
def test_any_host_and_origin_are_let_in_or_kept_out(host, origin):
    for doors in (OriginPolicy(), OriginPolicy(["https://a"]), OriginPolicy(hosts=LOOPBACK_HOSTS)):
        assert doors.allows(host, origin) in {True, False}


def test_with_authentication_off_a_client_is_who_it_says_it_is():
    grant = AllowAll().authenticate(Credentials(account="alice"))
    assert grant.account == "alice"
    assert grant.expires_at is None
    assert grant.may_join("any room")


def test_with_authentication_off_the_account_may_be_absent():
    assert AllowAll().authenticate(Credentials()).account is None


def test_with_authentication_off_who_names_a_private_topic_gets_it():
    assert AllowAll().authenticate(Credentials()).may_read("audit", is_private=True)


def test_a_refusal_tells_its_own_reason_or_the_usual_one():
    assert AuthRefused(close_codes.OVERLOADED).close is close_codes.OVERLOADED
    refused = AuthRefused(close_codes.OVERLOADED, "overloaded: full")
    assert refused.close == close_codes.OVERLOADED._replace(reason="overloaded: full")
    assert str(refused) == "overloaded: full"
