"""What one process of clients is told to do: values that go as JSON through a pipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple


class Trouble(Exception):
    """Something is wrong: an option or a setting with `code` 2, something outside with 1."""

    def __init__(self, sentence: str, *, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Target(NamedTuple):
    """Where a bridge is."""

    host: str
    port: int
    path: str = ""  #: before `/ws`


@dataclass(frozen=True)
class Job:
    """Clients `first`, `first + step` and so on, below `beyond`."""

    run: str
    targets: tuple[Target, ...]
    beyond: int
    first: int = 0
    step: int = 1
    topic: str = "bench"
    account: str | None = None  #: each one's account is this and its number
    room: str | None = None  #: all are in it
    token: str | None = None
    sources: int = 1  #: so many addresses of loopback to connect from
    window: int = 200  #: so many may be on their way in
    stalled: int = 0  #: so many of the lowest numbers will stop reading
    own: bool = False  #: each client has a lane of its own, else all have all

    @property
    def numbers(self) -> range:
        """Which clients there are."""
        return range(self.first, self.beyond, self.step)

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


def job_of(line: str) -> Job:
    """Return what `as_json` has made a line of."""
    told = json.loads(line)
    told["targets"] = tuple(Target(*each) for each in told["targets"])
    return Job(**told)
