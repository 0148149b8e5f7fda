"""The sessions of this instance: by id, and by each address under which they receive events.

Rule: an address is a key only while a session has it. So finding receivers is one look-up per
address, and memory shrinks when sessions leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session


class SessionRegistry:
    """The welcomed sessions by id, and which of them changed since the last look."""

    def __init__(self) -> None:
        self.by_id: dict[str, Session] = {}
        self._changed: dict[Session, None] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, session: Session) -> None:
        """Add `session`, which was welcomed, and mark it as changed."""
        self.by_id[session.id] = session
        self._changed[session] = None

    def remove(self, session: Session) -> None:
        """Remove `session` and mark it as changed; nothing happens if it was not registered."""
        if self.by_id.pop(session.id, None) is not None:
            self._changed[session] = None

    def mark_changed(self, session: Session) -> None:
        """Record that topics or rooms of `session` changed."""
        if session.id in self.by_id:
            self._changed[session] = None

    def pop_changed(self) -> list[Session]:
        """Return the sessions that were added, removed or changed since the last call."""
        changed, self._changed = self._changed, {}
        return list(changed)


class SubscriptionIndex:
    """Maps names of connections, accounts and rooms to the sessions that have them."""

    def __init__(self) -> None:
        self.by_connection: dict[str, Session] = {}
        self.by_account: dict[str, set[Session]] = {}
        self.by_room: dict[str, set[Session]] = {}
        self.all_sessions: set[Session] = set()

    def add(self, session: Session) -> None:
        """Index `session` by its connection, its account and its rooms."""
        self.all_sessions.add(session)
        self.by_connection[session.id] = session
        if session.permissions.account is not None:
            self.by_account.setdefault(session.permissions.account, set()).add(session)
        for room in session.rooms:
            self.add_room(session, room)

    def remove(self, session: Session) -> None:
        """Remove `session` from every key; nothing happens if it is not indexed."""
        if session not in self.all_sessions:
            return
        self.all_sessions.discard(session)
        self.by_connection.pop(session.id, None)
        if session.permissions.account is not None:
            _discard(self.by_account, session.permissions.account, session)
        for room in session.rooms:
            self.remove_room(session, room)

    def add_room(self, session: Session, room: str) -> None:
        """Index `session` by `room` too, after it joined."""
        self.by_room.setdefault(room, set()).add(session)

    def remove_room(self, session: Session, room: str) -> None:
        """Remove `session` from `room`, after it left."""
        _discard(self.by_room, room, session)


def _discard(index: dict[str, set[Session]], name: str, session: Session) -> None:
    sessions = index.get(name)
    if sessions is not None:
        sessions.discard(session)
        if not sessions:
            del index[name]
