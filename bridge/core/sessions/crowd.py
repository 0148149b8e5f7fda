"""Everybody who is connected here, and who of them has changed since that was last asked.

Rule: a session is in the crowd from its welcome until it is hung up on or gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session


class Crowd:
    """The welcomed sessions, by id."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._changed: dict[Session, None] = {}

    def __len__(self) -> int:
        return len(self.sessions)

    def add(self, session: Session) -> None:
        """Take in `session`, which is welcomed."""
        self.sessions[session.id] = session
        self._changed[session] = None

    def remove(self, session: Session) -> None:
        """Let `session` go; nothing happens where it was not here."""
        if self.sessions.pop(session.id, None) is not None:
            self._changed[session] = None

    def note(self, session: Session) -> None:
        """Say that `session` follows something else by now."""
        if session.id in self.sessions:
            self._changed[session] = None

    def take_changed(self) -> list[Session]:
        """Return, once, the sessions that came, went, or follow something else by now."""
        changed, self._changed = self._changed, {}
        return list(changed)
