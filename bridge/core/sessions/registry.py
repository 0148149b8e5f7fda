"""Who on this instance follows what.

Rule: an address is a key exactly while somebody follows it, so "is anybody here interested?" is
one look-up per address and memory falls back when sessions leave.
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


class Interest:
    """An index from names of connections, accounts and rooms to the sessions that follow them."""

    def __init__(self) -> None:
        self.connections: dict[str, Session] = {}
        self.accounts: dict[str, set[Session]] = {}
        self.rooms: dict[str, set[Session]] = {}
        self.everybody: set[Session] = set()

    def add(self, session: Session) -> None:
        """Let `session` be found by its connection, its account and its rooms."""
        self.everybody.add(session)
        self.connections[session.id] = session
        if session.grant.account is not None:
            self.accounts.setdefault(session.grant.account, set()).add(session)
        for room in session.rooms:
            self.enter(session, room)

    def remove(self, session: Session) -> None:
        """Forget `session`; nothing happens where it is not known."""
        if session not in self.everybody:
            return
        self.everybody.discard(session)
        self.connections.pop(session.id, None)
        if session.grant.account is not None:
            _drop(self.accounts, session.grant.account, session)
        for room in session.rooms:
            self.leave(session, room)

    def enter(self, session: Session, room: str) -> None:
        """Let `session` be found by `room` too."""
        self.rooms.setdefault(room, set()).add(session)

    def leave(self, session: Session, room: str) -> None:
        """Let `session` be found by `room` no longer."""
        _drop(self.rooms, room, session)


def _drop(index: dict[str, set[Session]], name: str, session: Session) -> None:
    followers = index.get(name)
    if followers is not None:
        followers.discard(session)
        if not followers:
            del index[name]
