"""What the schemas say of the server's frames holds for every one that the bridge writes."""

from __future__ import annotations

import json
from typing import Any, Final, get_args

import msgspec
import pytest

from bridge.core.protocol import close_codes, frames
from bridge.core.protocol.cursor import decode_cursor
from tests.contract.examples import Example, examples, parametrize_examples
from tests.core import frame_shape
from tests.core.factories import hub
from tests.harness.frame_schemas import SCHEMAS, check_client_frame, check_frame, read_frame

KINDS: Final = {kind.__struct_config__.tag: kind for kind in get_args(frames.ServerFrame)}
OPS: Final = sorted(name.removeprefix("frames/server/") for name in SCHEMAS if "server/" in name)
CLOSES: Final = {
    name: each
    for name, each in vars(close_codes).items()
    if isinstance(each, close_codes.CloseCode)
}
EVENT: Final = {
    each.name.rpartition("/")[2]: each.value for each in examples("frames/server/event", "valid")
}["with-everything"]


def kind_of(frame: dict[str, Any]) -> Any:
    """Return what the bridge writes such a frame from."""
    if frame["op"] == "reply":
        return frames.OkReply if frame["ok"] else frames.ErrorReply
    return KINDS[frame["op"]]


@parametrize_examples("valid", *(f"frames/server/{op}" for op in OPS if op != "event"))
def test_a_valid_frame_is_what_the_bridge_writes(example: Example) -> None:
    frame = msgspec.json.decode(example.text, type=kind_of(example.value))
    assert read_frame(frames.encode_frame(frame)) == example.value


def test_every_kind_of_frame_that_the_bridge_writes_has_an_example() -> None:
    written = {kind_of(example.value) for op in KINDS for example in of(op)}
    assert written == set(get_args(frames.ServerFrame))
    assert {*KINDS, "event"} == set(OPS)


def of(op: Any) -> list[Example]:
    """Return the valid examples of one kind."""
    return examples(f"frames/server/{op}", "valid")


@parametrize_examples("valid", "frames/server/event")
def test_an_event_is_shaped_as_the_bridge_writes_it(example: Example) -> None:
    frame_shape.check_event_frame(example.text)
    check_frame(example.value)


@parametrize_examples("valid", "frames/server")
def test_the_cursor_of_an_example_can_be_read(example: Example) -> None:
    cursor = example.value.get("cursor")
    assert cursor is None or decode_cursor(cursor)


@pytest.mark.parametrize("name", CLOSES)
def test_every_close_there_is_can_be_told(name: str) -> None:
    frame = read_frame(frames.encode_frame(hub().build_closing(CLOSES[name])))
    assert frame["code"] == CLOSES[name].code


def test_every_code_of_the_catalogue_is_in_the_schema() -> None:
    codes = SCHEMAS["frames/server/closing"]["properties"]["code"]["enum"]
    assert {code for code in codes if code >= 4000} == {
        each.code for each in close_codes.CLOSE_CODES
    }


# -- the judge itself ------------------------------------------------------------------------------


@parametrize_examples("invalid", "frames/server")
def test_check_frame_refuses(example: Example) -> None:
    with pytest.raises(AssertionError):
        check_frame(example.value)


@parametrize_examples("invalid", "frames/client")
def test_check_client_frame_refuses(example: Example) -> None:
    with pytest.raises(AssertionError):
        check_client_frame(example.value)


@parametrize_examples("valid", "frames/client")
def test_check_client_frame_takes(example: Example) -> None:
    check_client_frame(example.value)
    with pytest.raises(AssertionError):
        check_client_frame({**example.value, "surplus": 1})


@pytest.mark.parametrize("frame", [None, [], "welcome", {}, {"op": None}, {"op": ["event"]}])
def test_what_is_no_frame_is_refused(frame: object) -> None:
    with pytest.raises(AssertionError, match="no frame of the server"):
        check_frame(frame)
    with pytest.raises(AssertionError, match="no frame of the client"):
        check_client_frame(frame)


def test_the_place_of_what_is_wrong_is_told() -> None:
    with pytest.raises(AssertionError, match=r"^topics\.1: 7 is not of type"):
        check_client_frame({"op": "subscribe", "topics": ["orders", 7]})


def test_an_event_from_a_place_in_another_topic_is_refused() -> None:
    check_frame({**EVENT, "topic": "orders", "at": "orders:0:1"})
    with pytest.raises(AssertionError, match="no position in 'order'"):
        check_frame({**EVENT, "topic": "order", "at": "orders:0:1"})


def test_the_producers_own_is_not_looked_into() -> None:
    anything = [10**400, json.loads("1e999"), "\ud800", {"op": "closing"}]
    check_frame({**EVENT, "data": anything, "meta": anything})


def test_what_no_encoder_could_have_written_is_refused() -> None:
    with pytest.raises(AssertionError, match="surrogates"):
        check_frame({**EVENT, "topic": "\ud800"})
