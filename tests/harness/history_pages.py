"""Pages of the past as clients read them: judged by the published schema, like every frame.

The rule kept here: it knows `schemas/` and nothing of the bridge, so the two can disagree.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError

from tests.harness.frame_schemas import check_frame, schema_validator


class ReceivedPage(NamedTuple):
    """One page."""

    events: list[dict[str, Any]]
    cursor: str
    more: bool
    gaps: list[dict[str, Any]]
    waiting: list[str]

    @property
    def positions(self) -> list[str]:
        """Where its events stand."""
        return [event["at"] for event in self.events]


def read_page(text: str | bytes) -> ReceivedPage:
    """Return a page as a client reads it, checked.

    Raises:
        AssertionError: If no bridge may answer that.
    """
    page: dict[str, Any] = json.loads(text)
    try:
        # What is in the frames is judged by itself: the producer's own may be anything.
        schema_validator("http/history").validate({**page, "events": []})
    except ValidationError as error:
        raise AssertionError(f"{error.message}; in {str(page)[:1000]}") from None
    for frame in page["events"]:
        assert frame["op"] == "event", frame
        check_frame(frame)
    return ReceivedPage(**page)
