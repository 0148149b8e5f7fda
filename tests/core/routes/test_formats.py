"""What the bytes of values and keys are in each format."""

from __future__ import annotations

import json

import msgspec
import pytest

from bridge.core.protocol.event import Body, InvalidRecord
from bridge.core.routes.formats import FORMATS, KEY_FORMATS, TextFormat

MAX_BYTES = 1000


def reason(name: str, raw: bytes) -> str:
    with pytest.raises(InvalidRecord) as error:
        KEY_FORMATS[name](MAX_BYTES).open(raw)
    return error.value.reason


def test_json_that_no_template_opens_may_be_no_json() -> None:
    assert FORMATS["json"](MAX_BYTES).data(b"{no") == (Body.UNCHECKED, b"{no")


@pytest.mark.parametrize("raw", [b"", b" ", b"{", b"[1]x", b"\xff", b'"\xff"', b"nan"])
def test_json_that_a_template_opens_must_be_json(raw: bytes) -> None:
    assert reason("json", raw) == "bad_json"


def test_opened_json_is_the_text_itself() -> None:
    assert FORMATS["json"](MAX_BYTES).open(b' \r\n{"a": 1.50}\t') == msgspec.Raw(b'{"a": 1.50}')


@pytest.mark.parametrize("text", ["", "hello", 'a "b" \\ \n \x00 é 🙂'])
def test_text_is_one_json_string(text: str) -> None:
    opened = FORMATS["text"](MAX_BYTES)
    assert opened.open(text.encode()) == text
    body, data = opened.data(text.encode())
    assert (body, json.loads(data)) == (Body.JSON, text)


def test_text_that_is_not_utf8_is_a_bad_value() -> None:
    assert reason("text", b"\xff") == "bad_value"
    with pytest.raises(InvalidRecord):
        FORMATS["text"](MAX_BYTES).data(b"a\xff")


@pytest.mark.parametrize(
    "raw", [b"\x00" * 20, b'"' * 50, b"a\n\x1f\x7f" * 10, "é\x01".encode() * 9]
)
def test_text_is_too_large_exactly_above_the_limit(raw: bytes) -> None:
    size = len(msgspec.json.encode(raw.decode()))
    assert TextFormat(size).data(raw)[0] is Body.JSON
    with pytest.raises(InvalidRecord) as error:
        TextFormat(size - 1).data(raw)
    assert error.value.reason == "too_large"


def test_bytes_are_base64_and_cannot_be_opened() -> None:
    assert FORMATS["bytes"](MAX_BYTES).data(b"\x00\xff") == (Body.BASE64, b"AP8=")
    assert reason("bytes", b"{}") == "bad_value"


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"\x2a", 42),
        (b"\xff", -1),
        (b"\x00\x00\x01\x00", 256),
        (b"\x80" + bytes(7), -(2**63)),
        (b"\x7f" + b"\xff" * 7, 2**63 - 1),
    ],
)
def test_an_int_is_signed_and_big_endian(raw: bytes, number: int) -> None:
    opened = KEY_FORMATS["int"](MAX_BYTES)
    assert opened.open(raw) == number
    assert opened.data(raw) == (Body.JSON, str(number).encode())


@pytest.mark.parametrize("raw", [b"", bytes(9)])
def test_an_int_has_one_to_eight_bytes(raw: bytes) -> None:
    assert reason("int", raw) == "bad_value"


@pytest.mark.parametrize(
    ("name", "raw"),
    [("json", b"{secret"), ("text", b"\xffsecret"), ("bytes", b"secret"), ("int", b"secret" * 2)],
)
def test_no_detail_has_values(name: str, raw: bytes) -> None:
    with pytest.raises(InvalidRecord) as error:
        KEY_FORMATS[name](MAX_BYTES).open(raw)
    assert "secret" not in str(error.value)
