"""What to print of a journey that went wrong: who missed what, between which of its frames.

The rule kept here: whoever reads it can start the same journey again, and knows where to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.harness.deliveries import Observation, Violation

MOST, NEAR = 20, 3
_TURNS = frozenset({"welcome", "live", "gap", "closing"})
_TOLD = ("op", "at", "instance", "replayed", "code", "reason", "stale", "topic", "cursor")


def tell(violations: Sequence[Violation], observations: Iterable[Observation]) -> str:
    """The breaches, each with the client's own frames around its place."""
    frames = {observation.client: observation.frames for observation in observations}
    lines = [f"{len(violations)} breaches:"]
    told: set[str] = set()
    for violation in violations[:MOST]:
        around = "\n    ".join(_around(frames[violation.client], violation.position))
        lines += [violation.sentence, *([] if around in told else [f"    {around}"])]
        told.add(around)
    return "\n".join(lines)


def gaps(observation: Observation) -> Iterator[str]:
    """The gaps of which a client was told, each with the instance that told it."""
    instance = ""
    for number, frame in enumerate(observation.frames):
        if frame["op"] == "welcome":
            instance = frame["instance"]
        elif frame["op"] == "gap":
            yield f"{observation.client}: frame {number}, from {instance}: {frame}"


def errors(instance: str, log: str) -> Iterator[str]:
    """What an instance says that has gone wrong with itself: whole tracebacks, too."""
    within = False
    for line in log.splitlines():
        if within and not line.startswith(" "):
            within = False
            yield f"{instance}: {line}"  # the exception itself
        elif "Traceback (" in line:
            within = True
        if within or " ERROR " in line:
            yield f"{instance}: {line}"


def _around(frames: Sequence[Mapping[str, Any]], position: str) -> Iterable[str]:
    """The arrivals before and after `position` in its partition, and their connection's turns."""
    partition, _, offset = position.rpartition(":")
    before, after = -1, len(frames)
    for number, frame in enumerate(frames):
        if frame["op"] == "event" and frame["at"].rpartition(":")[0] == partition:
            came = int(frame["at"].rpartition(":")[2])
            if came < int(offset):
                before = number
            elif came > int(offset):
                after = min(after, number)
    first, end = max(0, min(before, after)), max(before, after) + 1
    while first > 0 and frames[first]["op"] != "welcome":
        first -= 1
    while end < len(frames) and frames[end]["op"] == "event":
        end += 1
    for number, frame in enumerate(frames[first : end + 1], first):
        if abs(number - before) <= NEAR or abs(number - after) <= NEAR or frame["op"] in _TURNS:
            yield f"{number}: { ({name: frame[name] for name in _TOLD if name in frame}) }"
