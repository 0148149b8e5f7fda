"""What a worker process must do, and the error that ends a measurement.

Rule: a job consists of JSON values only, because a pipe carries it to the worker.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple


class BenchError(Exception):
    """Ends the measurement. `exit_code` is 2 for a wrong option or setting, else 1."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Target(NamedTuple):
    """The address of one bridge."""

    host: str
    port: int
    path: str = ""  #: before `/ws`


@dataclass(frozen=True)
class LoadJob:
    """Clients `first`, `first + step` and so on, below `stop`."""

    run_id: str
    targets: tuple[Target, ...]
    stop: int
    first: int = 0
    step: int = 1
    topic: str = "bench"
    account_prefix: str | None = None  #: followed by the client's number
    room: str | None = None  #: every client joins it
    token: str | None = None
    source_address_count: int = 1  #: loopback addresses to connect from
    max_connecting: int = 200  #: clients that may connect at the same time
    stalled_clients: int = 0  #: clients with a number below this can stop reading
    has_private_events: bool = False  #: a client receives only its own sequence, else all of them

    @property
    def numbers(self) -> range:
        """The numbers of this job's clients."""
        return range(self.first, self.stop, self.step)

    def as_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))


def parse_job(line: str) -> LoadJob:
    """Return the job that `as_json` encoded."""
    fields = json.loads(line)
    fields["targets"] = tuple(Target(*each) for each in fields["targets"])
    return LoadJob(**fields)
