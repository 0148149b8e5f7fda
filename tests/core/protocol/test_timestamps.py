"""Contract, Appendix A: times are RFC 3339, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.timestamps import ms_to_rfc3339, rfc3339_to_ms, rfc3339_to_utc
from tests.core.strategies import int64s

UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?Z", re.ASCII)


def test_kafkas_milliseconds_are_written_with_a_fraction() -> None:
    assert ms_to_rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert ms_to_rfc3339(1_795_000_000_123) == "2026-11-18T11:06:40.123Z"
    assert ms_to_rfc3339(1_795_000_000_009) == "2026-11-18T11:06:40.009Z"


def test_a_timestamp_that_no_year_holds_is_written_as_the_nearest() -> None:
    # Kafka writes -1 where a record has none, and a producer may write anything.
    assert ms_to_rfc3339(-1) == "1970-01-01T00:00:00.000Z"
    assert ms_to_rfc3339(2**63 - 1) == "9999-12-31T23:59:59.999Z"


@given(int64s)
def test_any_timestamp_is_written_as_rfc_3339(ms: int) -> None:
    assert UTC_TEXT.fullmatch(ms_to_rfc3339(ms))


@given(st.integers(0, 253_402_300_799_999))
def test_milliseconds_are_read_back_as_they_were_written(ms: int) -> None:
    assert rfc3339_to_ms(ms_to_rfc3339(ms)) == ms


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z"),
        ("2026-11-21t09:00:00z", "2026-11-21T09:00:00Z"),
        ("2026-11-21T09:00:00+02:00", "2026-11-21T07:00:00Z"),
        ("2026-11-21T09:00:00.1234567890+02:00", "2026-11-21T07:00:00.1234567890Z"),
        ("2026-12-31T23:30:00-01:30", "2027-01-01T01:00:00Z"),
        ("2026-11-21T09:00:00-00:00", "2026-11-21T09:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
        ("2017-01-01T00:59:60+01:00", "2016-12-31T23:59:60Z"),
        ("0999-01-01T00:00:00+01:00", "0998-12-31T23:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_moved_to_utc_with_its_fraction_as_written(text: str, utc: str) -> None:
    assert rfc3339_to_utc(text) == utc


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-21", "2026-11-21T09:00Z", "2026-11-21T09:00:00", "20261121T090000Z"),
        *("2026-11-21 09:00:00Z", "2026-11-21T09:00:00.Z", "2026-11-21T09:00:00,5Z"),
        *("2026-02-30T09:00:00Z", "2026-13-01T09:00:00Z", "2026-11-21T24:00:00Z"),
        *("2026-11-21T09:60:00Z", "2026-11-21T09:00:61Z", "0000-01-01T00:00:00Z"),
        *("2026-11-21T09:00:00+24:00", "2026-11-21T09:00:00+01:60", "2026-11-21T09:00:00+0100"),
        *("٢٠٢٦-11-21T09:00:00Z", "2026-11-21T09:00:00Z\n", " 2026-11-21T09:00:00Z"),
        *("9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"),
    ],
)
def test_what_is_no_rfc_3339_date_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of them are the calendar's own
        rfc3339_to_utc(text)
    with pytest.raises(ValueError):  # noqa: PT011
        rfc3339_to_ms(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:60Z", 60_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-11-18T11:06:40.123Z", 1_795_000_000_123),
    ],
)
def test_a_time_is_read_as_milliseconds_rounded_down(text: str, ms: int) -> None:
    assert rfc3339_to_ms(text) == ms


@given(
    st.datetimes(),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_any_date_time_with_an_offset_is_read_as_what_it_is(local: datetime, minutes: int) -> None:
    moment = local.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="no year"):
            rfc3339_to_utc(moment.isoformat())
    else:
        assert rfc3339_to_utc(moment.isoformat()) == utc.isoformat().replace("+00:00", "Z")
        assert rfc3339_to_ms(moment.isoformat()) == (
            utc - datetime.fromtimestamp(0, UTC)
        ) // timedelta(milliseconds=1)


@given(
    st.text(max_size=30)
    | st.from_regex(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d*)?([Zz]|[+-]\d\d:\d\d)?", fullmatch=True
    )
    | st.from_regex(
        r"[0-2]\d{3}-[01]\d-[0-2]\dT[0-2]\d:[0-5]\d:[0-6]\d([Zz]|[+-][0-2]\d:[0-5]\d)\Z"
    )
)
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        utc = rfc3339_to_utc(text)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            rfc3339_to_ms(text)
    else:
        assert UTC_TEXT.fullmatch(utc)
        assert rfc3339_to_utc(utc) == utc
        assert rfc3339_to_ms(utc) == rfc3339_to_ms(text)
