"""W3C Trace Context, 3.2: which `traceparent` is one, and what becomes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.envelope import parse_traceparent
from tests.core.strategies import TRACEPARENT, corrupted

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = TRACEPARENT.encode()


def said(version: str = "00", trace: str = TRACE, parent: str = PARENT, flags: str = "01") -> bytes:
    return f"{version}-{trace}-{parent}-{flags}".encode()


@pytest.mark.parametrize("flags", ["00", "01", "02", "ff"])
def test_a_valid_one_goes_on_as_it_is(flags: str) -> None:
    assert parse_traceparent([said(flags=flags)]) == f"00-{TRACE}-{PARENT}-{flags}"


@pytest.mark.parametrize("ids", [{"trace": f"{1:032}"}, {"parent": f"{1:016}"}])
def test_an_id_may_begin_with_zeros(ids: dict[str, str]) -> None:
    assert parse_traceparent([said(**ids)]) == said(**ids).decode()


@pytest.mark.parametrize(
    "value",
    [
        *(b"", VALID[:-1], VALID + b"0", VALID + b"-", VALID + b"-00", VALID + b"\n", b" " + VALID),
        *(VALID.upper(), VALID.replace(b"-", b"_"), b"\xff" * 55, VALID + b"," + VALID),
        *(said("ff"), said("0"), said("0x"), said("000")),
        *(said(trace="0" * 32), said(trace=TRACE[1:]), said(trace="g" + TRACE[1:])),
        *(said(parent="0" * 16), said(parent=PARENT[1:]), said(parent=PARENT[:-1] + "A")),
        *(said(flags="1"), said(flags="0g"), said("01", flags="001"), said("01", flags="1")),
        *(said("01") + b"x", said("01") + b"_00", said("01", trace="0" * 32), said("ff") + b"-x"),
    ],
)
def test_one_that_is_not_valid_is_none(value: bytes) -> None:
    assert parse_traceparent([value]) is None


@pytest.mark.parametrize("more", [b"", b"-", b"-what the future\nbrings \xff"])
@pytest.mark.parametrize("version", ["01", "cc", "fe"])
def test_one_of_a_later_version_goes_on_as_what_is_known_of_it(version: str, more: bytes) -> None:
    assert parse_traceparent([said(version) + more]) == TRACEPARENT
    assert parse_traceparent([said(version, flags="fe") + more]) == said(flags="00").decode()
    assert parse_traceparent([said(version, flags="ff") + more]) == said(flags="01").decode()


def test_one_that_comes_twice_is_none_even_if_both_are_the_same() -> None:
    assert parse_traceparent([VALID, VALID]) is None
    assert parse_traceparent([VALID, b""]) is None
    assert parse_traceparent([]) is None


@given(st.lists(corrupted(st.just(VALID)) | corrupted(st.just(said("01") + b"-more")), max_size=2))
def test_whatever_comes_what_goes_on_is_version_00(values: list[bytes]) -> None:
    traceparent = parse_traceparent(values)
    if traceparent is not None:
        form = r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
        assert re.fullmatch(form, traceparent)
        assert values[0][2:52] == traceparent[2:52].encode()
