"""What one process of clients is told to do: values that go as JSON through a pipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple


class BenchError(Exception):
    """Something is wrong: an option or a setting with `code` 2, something outside with 1."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Target(NamedTuple):
    """Where a bridge is."""

    host: str
    port: int
    path: str = ""  #: before `/ws`


@dataclass(frozen=True)
class LoadJob:
    """Clients `first`, `first + step` and so on, below `beyond`."""

    run_id: str
    targets: tuple[Target, ...]
    stop: int
    first: int = 0
    step: int = 1
    topic: str = "bench"
    account_prefix: str | None = None  #: each one's account is this and its number
    room: str | None = None  #: all are in it
    token: str | None = None
    source_address_count: int = 1  #: so many addresses of loopback to connect from
    max_connecting: int = 200  #: so many may be on their way in
    stalled_clients: int = 0  #: so many of the lowest numbers will stop reading
    has_private_events: bool = False  #: each client has a lane of its own, else all have all

    @property
    def numbers(self) -> range:
        """Which clients there are."""
        return range(self.first, self.stop, self.step)

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


def parse_job(line: str) -> LoadJob:
    """Return what `as_json` has made a line of."""
    fields = json.loads(line)
    fields["targets"] = tuple(Target(*each) for each in fields["targets"])
    return LoadJob(**fields)
