"""What to print of a journey that went wrong: who missed what, between which of its frames.

The rule kept here: whoever reads it can start the same journey again, and knows where to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.harness.deliveries import Observation, Violation

MAX_VIOLATIONS, CONTEXT_FRAMES = 20, 3
_SESSION_OPS = frozenset({"welcome", "live", "gap", "closing"})
_SHOWN_FIELDS = ("op", "at", "instance", "replayed", "code", "reason", "stale", "topic", "cursor")


def describe_violations(
    violations: Sequence[Violation], observations: Iterable[Observation]
) -> str:
    """The breaches, each with the client's own frames around its place."""
    frames = {observation.client: observation.frames for observation in observations}
    lines = [f"{len(violations)} breaches:"]
    shown: set[str] = set()
    for violation in violations[:MAX_VIOLATIONS]:
        context = "\n    ".join(_frames_around(frames[violation.client], violation.position))
        lines += [violation.sentence, *([] if context in shown else [f"    {context}"])]
        shown.add(context)
    return "\n".join(lines)


def describe_gaps(observation: Observation) -> Iterator[str]:
    """The gaps of which a client was told, each with the instance that told it."""
    instance = ""
    for number, frame in enumerate(observation.frames):
        if frame["op"] == "welcome":
            instance = frame["instance"]
        elif frame["op"] == "gap":
            yield f"{observation.client}: frame {number}, from {instance}: {frame}"


def find_errors(instance: str, log: str) -> Iterator[str]:
    """What an instance says that has gone wrong with itself: whole tracebacks, too."""
    in_traceback = False
    for line in log.splitlines():
        if in_traceback and not line.startswith(" "):
            in_traceback = False
            yield f"{instance}: {line}"  # the exception itself
        elif "Traceback (" in line:
            in_traceback = True
        if in_traceback or " ERROR " in line:
            yield f"{instance}: {line}"


def _frames_around(frames: Sequence[Mapping[str, Any]], position: str) -> Iterable[str]:
    """The arrivals before and after `position` in its partition, and their connection's turns."""
    partition, _, offset = position.rpartition(":")
    before, after = -1, len(frames)
    for number, frame in enumerate(frames):
        if frame["op"] == "event" and frame["at"].rpartition(":")[0] == partition:
            arrived_offset = int(frame["at"].rpartition(":")[2])
            if arrived_offset < int(offset):
                before = number
            elif arrived_offset > int(offset):
                after = min(after, number)
    first_frame, end_frame = max(0, min(before, after)), max(before, after) + 1
    while first_frame > 0 and frames[first_frame]["op"] != "welcome":
        first_frame -= 1
    while end_frame < len(frames) and frames[end_frame]["op"] == "event":
        end_frame += 1
    for number, frame in enumerate(frames[first_frame : end_frame + 1], first_frame):
        if (
            abs(number - before) <= CONTEXT_FRAMES
            or abs(number - after) <= CONTEXT_FRAMES
            or frame["op"] in _SESSION_OPS
        ):
            yield f"{number}: { ({name: frame[name] for name in _SHOWN_FIELDS if name in frame}) }"
