"""Contract 3.3: positions and cursors, as clients keep and send them."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.cursor import (
    Cursor,
    InvalidCursor,
    Position,
    TopicOffsets,
    cursor_time,
    decode_cursor,
    encode_cursor,
    join_topic_offsets,
    pack_topic_offsets,
    parse_position,
)
from tests.core.factories import TOPIC_ID, offsets_by_topic
from tests.core.strategies import corrupted, cursors, topics

CURSOR: Cursor = {
    "news": TopicOffsets(b"", {}),
    "orders": TopicOffsets(TOPIC_ID, {0: 0, 1: 300, 7: 2**63 - 1}),
}
TEXT = encode_cursor(CURSOR)


def body(*parts: bytes) -> str:
    """Return a cursor whose checksum is right, whatever else is not."""
    return join_topic_offsets(parts, 1_795_000_000)


# -- the text of a cursor --------------------------------------------------------------------------


def test_the_text_of_a_cursor_stays_what_older_instances_wrote() -> None:
    assert TEXT == "AQRuZXdzAAAGb3JkZXJzCDggYnl0ZXMuAwAAAKwCBf__________fwq3PLM"
    assert decode_cursor(TEXT) == CURSOR


@given(cursors)
def test_a_cursor_is_read_back_as_it_was_written(cursor: Cursor) -> None:
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(cursors)
def test_a_cursor_needs_no_escape_in_a_url_and_leaves_room_for_positions(cursor: Cursor) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", encode_cursor(cursor))


def test_equal_places_make_equal_text() -> None:
    swapped = {topic: CURSOR[topic] for topic in reversed(CURSOR)}
    assert encode_cursor(swapped) == TEXT
    assert pack_topic_offsets("a", TopicOffsets(b"", {1: 5, 0: 4})) == pack_topic_offsets(
        "a", TopicOffsets(b"", {0: 4, 1: 5})
    )


def test_a_topic_without_partitions_is_named_all_the_same() -> None:
    assert decode_cursor(encode_cursor({"news": TopicOffsets(b"", {})})) == {
        "news": TopicOffsets(b"", {})
    }


# -- positions after it ----------------------------------------------------------------------------


def test_a_position_says_that_its_record_has_been_seen() -> None:
    joined = decode_cursor(f"{TEXT},orders:1:300,orders:3:0")
    assert offsets_by_topic(joined) == {"news": {}, "orders": {0: 0, 1: 301, 3: 1, 7: 2**63 - 1}}
    assert joined["orders"].topic_id == TOPIC_ID


def test_a_position_never_moves_a_cursor_back() -> None:
    assert decode_cursor(f"{TEXT},orders:1:298") == CURSOR
    assert decode_cursor(f"{TEXT},orders:1:299") == CURSOR


def test_of_several_positions_in_one_partition_the_newest_counts() -> None:
    joined = decode_cursor(f"{TEXT},orders:1:400,orders:1:500,orders:1:450,news:0:7")
    assert joined["orders"].offsets[1] == 501
    assert joined["news"].offsets == {0: 8}


@given(cursors, st.lists(st.tuples(topics, st.integers(0, 9), st.integers(0, 2**63 - 2))))
def test_a_cursor_and_positions_cover_what_either_covers(
    cursor: Cursor, seen: list[tuple[str, int, int]]
) -> None:
    known = [Position(*each) for each in seen if each[0] in cursor]
    expected = {topic: dict(place.offsets) for topic, place in cursor.items()}
    for topic, partition, offset in known:
        here = expected[topic]
        here[partition] = max(here.get(partition, 0), offset + 1)
    assert (
        offsets_by_topic(decode_cursor(",".join([encode_cursor(cursor), *map(str, known)])))
        == expected
    )


@pytest.mark.parametrize(
    "positions",
    [
        *("", "orders", "orders:1", "orders:1:2:3", "orders:1:", "orders::2", "orders:-1:2"),
        *("orders:1:-2", "orders:1:2.0", "orders:1: 2", "orders:٣:2", "orders:²:2", "a b:1:2"),
        *("orders:2147483648:0", f"orders:0:{2**63 - 1}", "orders:0:" + "9" * 5000),
        *("audit:0:1", "orders:1:2,", "orders:1:2,,orders:1:3"),
    ],
)
def test_a_wrong_position_makes_the_whole_malformed(positions: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(f"{TEXT},{positions}")


@pytest.mark.parametrize("topic", ["", "a b", "é", "..", "x" * 201])
def test_a_position_is_in_something_that_can_be_a_topic(topic: str) -> None:
    with pytest.raises(InvalidCursor):
        parse_position(f"{topic}:1:2")


def test_the_largest_position_is_read() -> None:
    largest = Position("orders", 2**31 - 1, 2**63 - 2)
    assert parse_position(str(largest)) == largest
    assert decode_cursor(f"{TEXT},{largest}")["orders"].offsets[2**31 - 1] == 2**63 - 1


@given(st.builds(Position, topics, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 2)))
def test_a_position_is_read_back_as_it_was_written(position: Position) -> None:
    assert parse_position(f"{position}") == position


# -- checked like any other input ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(
            "é",
            "\ud800",
            "A",
            "AAAA",
            "AAAAAA",
            "AQ",
            " ",
            TEXT[:-1],
            TEXT[:-4],
            TEXT[1:],
            TEXT + "A",
        ),
        *(TEXT + "=", TEXT + "==", TEXT + "\n", " " + TEXT, TEXT.replace("_", "/"), f'"{TEXT}"'),
    ],
)
def test_what_is_not_letter_by_letter_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor, match="garbled or cut short"):
        decode_cursor(text)


@pytest.mark.parametrize("text", ["", ",orders:1:2"])
def test_an_empty_cursor_is_refused_as_such(text: str) -> None:
    with pytest.raises(InvalidCursor, match="empty"):
        decode_cursor(text)


def test_positions_of_a_topic_that_the_cursor_does_not_name_are_refused_as_such() -> None:
    with pytest.raises(InvalidCursor, match="does not cover the topic of 'audit:0:1'"):
        decode_cursor(f"{TEXT},audit:0:1")


@given(cursors.map(encode_cursor), st.data())
def test_a_cursor_that_was_cut_or_mistyped_is_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDwxyz0189-_").filter(lambda c: c != text[at]))
    for wrong in (text[:at], text[:at] + other + text[at + 1 :]):
        with pytest.raises(InvalidCursor):
            decode_cursor(wrong)


def test_a_cursor_of_another_version_is_refused_as_such() -> None:
    raw = b"\x03whatever it will be"
    newer = urlsafe_b64encode(raw + crc32(raw).to_bytes(4, "big")).rstrip(b"=").decode()
    with pytest.raises(InvalidCursor, match="version"):
        decode_cursor(newer)


PLACE = pack_topic_offsets("orders", TopicOffsets(TOPIC_ID, {0: 1}))


@pytest.mark.parametrize(
    "packed",
    [
        PLACE[:-1],
        PLACE[:7],
        PLACE + PLACE,
        PLACE + b"\x06",
        pack_topic_offsets("a b", TopicOffsets(b"", {})),
        pack_topic_offsets("", TopicOffsets(b"", {})),
        pack_topic_offsets("..", TopicOffsets(b"", {})),
        b"\x02\xc3\xa9\x00\x00",
        pack_topic_offsets("orders", TopicOffsets(b"short", {})),
        pack_topic_offsets("orders", TopicOffsets(b"longer than 8", {})),
        pack_topic_offsets("orders", TopicOffsets(b"", {0: 2**63})),
        pack_topic_offsets("orders", TopicOffsets(b"", {2**31: 0})),
        pack_topic_offsets("orders", TopicOffsets(b"", {2**31 - 1: 0, 2**31: 0})),
        b"\x01a\x00\x01\x00" + b"\x80" * 9 + b"\x02",
        b"\x01a\x00\x01\x00" + b"\x80" * 10 + b"\x00",
        b"\x01a\x00\xff\xff\xff\xff\x07",
        b"\x01a\x00\xff\xff\xff\xff\x08",
    ],
)
def test_a_right_checksum_is_not_believed_either(packed: bytes) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(body(packed))


sent = corrupted(cursors.map(encode_cursor).map(str.encode)).map(lambda it: it.decode("latin-1"))


@given(st.text(max_size=30) | sent)
def test_any_text_is_a_cursor_or_malformed(text: str) -> None:
    try:
        cursor = decode_cursor(text)
    except InvalidCursor:
        return
    assert decode_cursor(encode_cursor(cursor)) == cursor


packed_places = st.builds(
    pack_topic_offsets,
    topics,
    cursors.map(lambda it: next(iter(it.values()), TopicOffsets(b"", {}))),
)


@given(st.lists(corrupted(packed_places) | st.binary(max_size=20), max_size=3))
def test_any_bytes_with_a_right_checksum_are_a_cursor_or_malformed(packed: list[bytes]) -> None:
    try:
        cursor = decode_cursor(body(*packed))
    except InvalidCursor:
        return
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(st.text(max_size=10) | st.from_regex(r"[a-z.]{0,3}:[0-9]{0,25}:[0-9]{0,25}", fullmatch=True))
def test_any_text_is_a_position_or_malformed(text: str) -> None:
    try:
        position = parse_position(text)
    except InvalidCursor:
        return
    assert parse_position(str(position)) == position


# -- version 2: a cursor with its time -------------------------------------------------------------

MADE_AT = 1_795_000_000
DATED: Cursor = {
    "news": TopicOffsets(b"", {}, {0: MADE_AT - 5}),
    "orders": TopicOffsets(TOPIC_ID, {0: 0, 1: 300, 7: 2**63 - 1}, {2: MADE_AT, 9: 0}),
}


def test_version_2_of_the_form_has_the_time_in_seconds() -> None:
    text = encode_cursor(DATED, MADE_AT)
    assert cursor_time(decode_cursor(text)) == MADE_AT
    assert decode_cursor(text) == DATED
    raw = b"\x02\xc0\x8d\xf6\xd7\x06" + b"\x06orders\x08" + TOPIC_ID + b"\x01\x00\x05\x01\x01\x07"
    by_hand = urlsafe_b64encode(raw + crc32(raw).to_bytes(4, "big")).rstrip(b"=").decode()
    assert encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 5}, {1: 7})}, MADE_AT) == by_hand


def test_version_1_is_still_read_and_has_no_time() -> None:
    assert cursor_time(decode_cursor(TEXT)) is None
    assert cursor_time(CURSOR) is None


@given(cursors, st.integers(0, 253_402_300_799))
def test_a_dated_cursor_is_read_back_as_it_was_written(cursor: Cursor, made_at: int) -> None:
    back = decode_cursor(encode_cursor(cursor, made_at))
    assert (back, cursor_time(back)) == (cursor, made_at)


def test_a_position_behind_a_dated_cursor_keeps_its_time_and_ends_the_wait() -> None:
    moved = decode_cursor(f"{encode_cursor(DATED, MADE_AT)},orders:2:41,orders:0:3")
    assert moved["orders"] == TopicOffsets(TOPIC_ID, {0: 4, 1: 300, 2: 42, 7: 2**63 - 1}, {9: 0})
    assert (moved["news"], cursor_time(moved)) == (DATED["news"], MADE_AT)


@pytest.mark.parametrize(
    "cursor",
    [
        {"orders": TopicOffsets(TOPIC_ID, {0: 1}, {0: 1})},
        {"orders": TopicOffsets(TOPIC_ID, {}, {0: 253_402_300_800})},
    ],
)
def test_a_partition_is_read_or_awaited_from_a_time_that_can_be(cursor: Cursor) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor(cursor, MADE_AT))


def test_a_time_beyond_every_calendar_is_refused() -> None:
    with pytest.raises(InvalidCursor, match="too large"):
        decode_cursor(encode_cursor({}, 253_402_300_800))
