"""What may go wrong for good. Each has a `code` for programs and a `reason` for people.

The rule kept here: what passes by itself is no error but an item (`Disconnected`, `Warned`).
"""

from __future__ import annotations


class ClientError(Exception):
    """Anything that a client raises."""

    def __init__(self, code: int | str, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(ClientError):
    """The client is over: `code` is a close code of 45xx, or the HTTP status that refused it."""

    code: int


class Rejected(ClientError):
    """A subscription was refused and had no effect: `forbidden`, `limit`, `bad_frame`.

    `closed` where the client was closed before the answer came.
    """

    code: str
