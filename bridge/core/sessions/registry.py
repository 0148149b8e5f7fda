"""Who on this instance follows what.

Rule: an address is a key exactly while somebody follows it, so "is anybody here interested?" is
one look-up per address and memory falls back when sessions leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session


class SessionRegistry:
    """The welcomed sessions, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Session] = {}
        self._changed: dict[Session, None] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, session: Session) -> None:
        """Take in `session`, which is welcomed."""
        self.by_id[session.id] = session
        self._changed[session] = None

    def remove(self, session: Session) -> None:
        """Let `session` go; nothing happens where it was not here."""
        if self.by_id.pop(session.id, None) is not None:
            self._changed[session] = None

    def mark_changed(self, session: Session) -> None:
        """Say that `session` follows something else by now."""
        if session.id in self.by_id:
            self._changed[session] = None

    def pop_changed(self) -> list[Session]:
        """Return, once, the sessions that came, went, or follow something else by now."""
        changed, self._changed = self._changed, {}
        return list(changed)


class SubscriptionIndex:
    """An index from names of connections, accounts and rooms to the sessions that follow them."""

    def __init__(self) -> None:
        self.by_connection: dict[str, Session] = {}
        self.by_account: dict[str, set[Session]] = {}
        self.by_room: dict[str, set[Session]] = {}
        self.all_sessions: set[Session] = set()

    def add(self, session: Session) -> None:
        """Let `session` be found by its connection, its account and its rooms."""
        self.all_sessions.add(session)
        self.by_connection[session.id] = session
        if session.permissions.account is not None:
            self.by_account.setdefault(session.permissions.account, set()).add(session)
        for room in session.rooms:
            self.add_room(session, room)

    def remove(self, session: Session) -> None:
        """Forget `session`; nothing happens where it is not known."""
        if session not in self.all_sessions:
            return
        self.all_sessions.discard(session)
        self.by_connection.pop(session.id, None)
        if session.permissions.account is not None:
            _discard(self.by_account, session.permissions.account, session)
        for room in session.rooms:
            self.remove_room(session, room)

    def add_room(self, session: Session, room: str) -> None:
        """Let `session` be found by `room` too."""
        self.by_room.setdefault(room, set()).add(session)

    def remove_room(self, session: Session, room: str) -> None:
        """Let `session` be found by `room` no longer."""
        _discard(self.by_room, room, session)


def _discard(index: dict[str, set[Session]], name: str, session: Session) -> None:
    sessions = index.get(name)
    if sessions is not None:
        sessions.discard(session)
        if not sessions:
            del index[name]
