"""What the schemas say of a client's frames, the bridge's own door to them says too."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings

from bridge.core.protocol import frames as protocol_frames
from bridge.core.sessions.requests import ClientRequests, FrameAllowance, RequestLimits
from bridge.web.connections.connect_request import BadRequest, parse_connect_request
from tests.contract.examples import Example, parametrize_examples, read_json
from tests.core.factories import attached_session, hub, take_frames
from tests.core.strategies import client_frames, hellos
from tests.harness.frame_schemas import check_client_frame, check_frame
from tests.tiers import example_count

MANY: Final = RequestLimits(max_rooms=100, max_topics=100, max_changes_per_minute=100)
CHANGES: Final = [
    f"frames/client/{op}" for op in ("subscribe", "unsubscribe", "heartbeat", "token")
]
SAME: Final = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much]
)


def answers(text: bytes) -> list[dict[str, Any]]:
    """Return what a client that has said `text` is answered, checked."""
    at = hub(orders=False, news=False)
    session = attached_session(at)
    requests = ClientRequests(at, session, MANY, FrameAllowance(200))
    requests.handle(text, now=0.0, stale_seconds=None)
    answered = take_frames(session)
    for frame in answered:
        check_frame(frame)
    return answered


def fields(example: Example) -> dict[str, Any]:
    """Return what a frame says beside its `op`."""
    return {name: value for name, value in example.value.items() if name != "op"}


def admitted(text: bytes) -> str | None:
    """Return the `op` of a frame that the schemas admit."""
    try:
        frame = read_json(text)
        check_client_frame(frame)
    except (ValueError, AssertionError):
        return None
    op: str = frame["op"]
    return op


@parametrize_examples("valid", *CHANGES)
def test_a_valid_frame_is_taken(example: Example) -> None:
    frame = protocol_frames.decode_frame(example.text)
    assert {name: getattr(frame, name) for name in fields(example)} == fields(example)


@parametrize_examples("valid", *CHANGES)
def test_a_valid_frame_is_answered_with_its_id(example: Example) -> None:
    answered = answers(example.text)
    # A token is for the gate to judge, and answered from there.
    assert len(answered) == (example.value["op"] != "token")
    for answer in answered:
        assert answer.get("id") == example.value.get("id")
        assert answer.get("ok", True)


@parametrize_examples("invalid", *CHANGES)
def test_an_invalid_frame_is_a_bad_frame(example: Example) -> None:
    (answer,) = answers(example.text)
    assert answer["error"] == "bad_frame"


@parametrize_examples("valid", "frames/client/hello")
def test_a_valid_hello_is_taken(example: Example) -> None:
    hello = protocol_frames.decode_hello(example.text)
    assert {name: getattr(hello, name) for name in fields(example)} == fields(example)


@parametrize_examples("invalid", "frames/client/hello")
def test_an_invalid_hello_is_refused(example: Example) -> None:
    with pytest.raises((protocol_frames.BadFrame, BadRequest)):
        parse_connect_request(protocol_frames.decode_hello(example.text), max_topics=9, max_rooms=9)


@SAME
@given(client_frames)
def test_whatever_the_schemas_admit_is_taken(text: bytes) -> None:
    op = admitted(text)
    assume(op is not None and op != "hello")
    assert isinstance(protocol_frames.decode_frame(text), protocol_frames.ClientFrame)


@settings(SAME, max_examples=example_count(25))
@given(hellos)
def test_whatever_hello_the_schemas_admit_is_taken(text: bytes) -> None:
    assume(admitted(text) == "hello")
    assert isinstance(protocol_frames.decode_hello(text), protocol_frames.Hello)
