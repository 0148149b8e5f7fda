"""What the commands of backends do to the clients that are connected here.

Rules: everybody who is told to leave or stay out is so from the moment on in which the command is
read: nothing follows, and what was queued is discarded. A room is given and taken by the backend's
own hands, never by the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.coordination.commands import REASON_CHARACTERS, Disconnect, Join, Leave, Revoke
from bridge.core.protocol import close_codes
from bridge.core.sessions.session import Hand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.membership import Members
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


class Backend:
    """Lets commands act on the sessions of `hub`; `members` has what lasts of them."""

    def __init__(self, hub: Hub, members: Members) -> None:
        self._hub = hub
        self.members = members

    def welcome(self, session: Session) -> None:
        """Put `session`, before its welcome, into the rooms of its account."""
        account = session.grant.account
        for room in sorted(self.members.rooms.get(account, ())) if account is not None else ():
            self._hub.give(session, room, Hand.ACCOUNT)

    def obey(self, command: Command) -> tuple[bytes, bytes | None] | None:
        """Do what `command` says; return the key and value that keep it, if it is to be kept."""
        kept = self.members.obey(command)
        match command:
            case Join():
                self._join(command)
            case Leave():
                self._leave(command)
            case Disconnect():
                self._disconnect(command)
            case Revoke(account=account):
                for session in self._hub.of_account(account):
                    if self.members.is_revoked(account, session.grant.issued):
                        self._hub.hang_up(session, close_codes.EXPIRED, discard=True)
            case _:
                pass
        return kept

    def _join(self, command: Join) -> None:
        hand = Hand.ACCOUNT if command.connection is None else Hand.CONNECTION
        for session in self._sessions(command):
            if self._hub.give(session, command.room, hand):
                self._hub.moved(session, [command.room], [])

    def _leave(self, command: Leave) -> None:
        hand = Hand.ACCOUNT if command.connection is None else Hand.CONNECTION
        for session in self._sessions(command):
            if self._hub.let_go(session, command.room, hand):
                self._hub.moved(session, [], [command.room])

    def _disconnect(self, command: Disconnect) -> None:
        why = close_codes.DISCONNECTED
        if command.reason:
            why = why._replace(reason=f"{why.reason}: {command.reason[:REASON_CHARACTERS]}")
        for session in self._sessions(command):
            self._hub.hang_up(session, why, discard=True)

    def _sessions(self, command: Join | Leave | Disconnect) -> Iterable[Session]:
        if command.connection is not None:
            session = self._hub.crowd.sessions.get(command.connection)
            return () if session is None else (session,)
        return () if command.account is None else self._hub.of_account(command.account)
