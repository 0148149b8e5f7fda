"""What Hypothesis makes for the doors of the core: names, JSON text, records, cursors, frames."""

from __future__ import annotations

import json
import operator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypothesis import strategies as st

from bridge.core.protocol.cursor import TOPIC_ID_BYTES, TopicOffsets
from tests.core.factories import ConsumerRecord

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Text that UTF-8 can write.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
topics = st.from_regex(r"[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}", fullmatch=True)
int64s = st.integers(-(2**63), 2**63 - 1)

# -- JSON text, written in many ways ------------------------------------------------------------

_numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)
_strings = st.builds(json.dumps, texts, ensure_ascii=st.booleans())
_whitespace = st.sampled_from(["", "", "", " ", "\t", "\n", " \r\n "])


def _json_list(parts: list[str], blank: str, ends: str) -> str:
    return ends[0] + blank + f"{blank},".join(parts) + blank + ends[1]


def _json_container(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    members = st.builds("{}:{}".format, _strings, inner)
    return st.one_of(
        st.builds(_json_list, st.lists(inner, max_size=4), _whitespace, st.just("[]")),
        st.builds(_json_list, st.lists(members, max_size=4), _whitespace, st.just("{}")),
    )


#: JSON text whose tokens a decoder would not give back: long numbers, escapes, doubled keys.
json_texts = st.recursive(
    st.one_of(_numbers, _strings, st.sampled_from(["null", "true", "false"])),
    _json_container,
    max_leaves=8,
)


def corrupted(original: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return `original`, or what is left of it when a piece is cut out and another put in."""

    def corrupt(text: bytes, start: int, end: int, inserted: bytes) -> bytes:
        start, end = sorted((start % (len(text) + 1), end % (len(text) + 1)))
        return text[:start] + inserted + text[end:]

    positions = st.integers(0, 10_000)
    return st.one_of(
        original, st.builds(corrupt, original, positions, positions, st.binary(max_size=3))
    )


def json_object(fields: dict[str, str]) -> bytes:
    """Return the JSON object of these members, whose values are JSON text."""
    return (
        "{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in fields.items()) + "}"
    ).encode()


# -- records ------------------------------------------------------------------------------------

_names = st.lists(
    st.sampled_from(["ann", "bob", "order:42", "a b", "%", "é"])
    | st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",*"), min_size=1),
    max_size=3,
)
_times = st.sampled_from(["2026-11-21T09:00:00Z", "0001-01-01T00:00:00.5-01:00"])
_invalid_values = st.one_of(
    texts, st.none(), st.booleans(), st.integers(), st.lists(texts, max_size=3)
)


def _json_text_of(values: SearchStrategy[Any]) -> SearchStrategy[str]:
    return st.builds(json.dumps, values)


_valid_fields = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("id", "type", "tag", "surprise"), _json_text_of(texts)),
        **dict.fromkeys(("accounts", "rooms", "connections"), _json_text_of(_names)),
        "time": _json_text_of(_times),
        "all": _json_text_of(st.booleans()),
        "meta": json_texts,
        "data": json_texts,
    },
)
_invalid_fields = st.dictionaries(
    st.sampled_from(["id", "type", "time", "tag", "accounts", "rooms", "connections", "all"]),
    _json_text_of(_invalid_values),
    max_size=1,
)
_native_envelopes = st.builds(json_object, st.builds(operator.or_, _valid_fields, _invalid_fields))


def _header(name: str, value: SearchStrategy[str]) -> SearchStrategy[tuple[str, bytes]]:
    return st.tuples(st.just(name), value.map(str.encode))


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_name_lists = _names.map(lambda names: " ,".join(quote(name) for name in names))
_valid_headers = st.lists(
    st.one_of(
        *(_header(f"push-{name}", _name_lists) for name in ("accounts", "rooms", "connections")),
        *(_header(f"push-{name}", texts) for name in ("id", "type", "tag", "surprise")),
        _header("push-all", st.sampled_from(["true", "false"])),
        _header("push-time", _times),
        _header("push-meta", json_texts),
        _header("traceparent", st.sampled_from([TRACEPARENT, TRACEPARENT[:-1]])),
    ),
    max_size=4,
)
_invalid_headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["push-accounts", "push-rooms", "push-all", "push-id", "push-meta", "traceparent", "x"]
        ),
        st.none() | st.binary(max_size=9) | texts.map(str.encode),
    ),
    max_size=1,
)
_headers = st.builds(operator.add, _valid_headers, _invalid_headers)

records = st.builds(
    ConsumerRecord,
    offset=st.integers(0, 2**63 - 2),  # the last that a record can have
    timestamp=int64s,
    key=st.none() | st.binary(max_size=5),
    value=st.one_of(
        *(st.none(), st.binary(max_size=40), json_texts.map(str.encode)),
        *(_native_envelopes, corrupted(_native_envelopes)),
    ),
    headers=st.just([]) | _headers,
)

# -- cursors ------------------------------------------------------------------------------------

places = st.builds(
    TopicOffsets,
    st.just(b"") | st.binary(min_size=TOPIC_ID_BYTES, max_size=TOPIC_ID_BYTES),
    st.dictionaries(st.integers(0, 5) | st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)),
)
cursors = st.dictionaries(topics, places, max_size=4)


# -- what clients send --------------------------------------------------------------------------

_id = {"id": _json_text_of(st.integers() | texts)}
_changes = dict.fromkeys(("topics", "rooms"), _json_text_of(_names))


def _frame(
    op: str, optional: dict[str, SearchStrategy[str]], **required: SearchStrategy[str]
) -> SearchStrategy[bytes]:
    fields = st.fixed_dictionaries({"op": st.just(f'"{op}"'), **required}, optional=optional)
    return st.builds(json_object, fields)


_valid_frames = st.one_of(
    _frame("subscribe", {**_id, **_changes}),
    _frame("unsubscribe", {**_id, **_changes}),
    _frame("heartbeat", _id),
    _frame("token", _id, token=_json_text_of(texts)),
)
_any_fields = dict.fromkeys(
    ("id", "topics", "rooms", "token", "surprise"), _json_text_of(_invalid_values)
)
_invalid_frames = st.sampled_from(["subscribe", "heartbeat", "token", "hello", "else"]).flatmap(
    lambda op: _frame(op, _any_fields)
)
client_frames = st.one_of(
    st.binary(max_size=40), _valid_frames, corrupted(_valid_frames), _invalid_frames
)
_valid_hellos = _frame(
    "hello",
    {
        **dict.fromkeys(("topics", "rooms", "types"), _json_text_of(_names)),
        **dict.fromkeys(("cursor", "since", "token", "account"), _json_text_of(texts)),
    },
)
hellos = st.one_of(st.binary(max_size=40), _valid_hellos, corrupted(_valid_hellos), _invalid_frames)
