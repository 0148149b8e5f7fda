"""What backends have decided for good: who is in which room, what rooms are called, who is out.

Rules: it is the commands in their order; a fact of the state topic is what commands before it have
left, and never undoes one that was read. A revocation is never taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.coordination import state_records
from bridge.core.coordination.commands import (
    REASON_CHARACTERS,
    Disconnect,
    Join,
    Leave,
    Revoke,
    Title,
)
from bridge.core.protocol import close_codes, timestamps
from bridge.core.sessions.session import Hand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.state_records import Fact, Gone
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


class Members:
    """Durable memberships, room titles and revocations."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[str]] = {}  #: by account
        self.accounts: dict[str, set[str]] = {}  #: by room
        self.titles: dict[str, str] = {}  #: by room
        self.revoked: dict[str, float] = {}  #: by account: issued before, in seconds since 1970
        self._said: set[bytes] = set()  # keys of facts about which a command was read
        self._settled = False

    def load(self, fact: Fact | Gone) -> tuple[bytes, bytes | None] | None:
        """Take a fact from the state topic, at the start.

        Return the key and value that are to be kept instead of what a command has left, if so.
        """
        if self._settled:
            return None  # it says what a command has said before
        match fact:
            case state_records.Member() if state_records.key(fact) not in self._said:
                self._join(fact.account, fact.room)
            case state_records.Title() if state_records.key(fact) not in self._said:
                self.titles[fact.room] = fact.title
            case state_records.Revoked():
                self._revoke(fact.account, fact.before)
                if state_records.key(fact) in self._said:
                    return self._revoked(fact.account)
            case state_records.Gone("member", (account, room)) if (
                _member(account, room) not in self._said
            ):
                self._leave(account, room)
            case state_records.Gone("title", (room,)) if _title(room) not in self._said:
                self.titles.pop(room, None)
            case _:
                pass
        return None

    def settle(self) -> None:
        """Say that the facts have been read which were there at the start."""
        self._settled = True
        self._said.clear()

    def obey(self, command: Command) -> tuple[bytes, bytes | None] | None:
        """Do what `command` says; return the key and value that keep it, if it is to be kept."""
        match command:
            case Join(room=room, account=str(account)):
                self._join(account, room)
                return self._keep(_member(account, room), state_records.Member(account, room))
            case Leave(room=room, account=str(account)):
                self._leave(account, room)
                return self._keep(_member(account, room), None)
            case Title(room=room, title=""):
                self.titles.pop(room, None)
                return self._keep(_title(room), None)
            case Title(room=room, title=title):
                self.titles[room] = title
                return self._keep(_title(room), state_records.Title(room, title))
            case Revoke(account=account, before=str(before)):
                self._revoke(account, before)
                return self._revoked(account)
            case _:
                return None

    def is_revoked(self, account: str | None, issued: float | None) -> bool:
        """Whether a token of `account` is refused; one of no time is older than any."""
        before = None if account is None else self.revoked.get(account)
        return before is not None and (issued is None or issued < before)

    def _revoked(self, account: str) -> tuple[bytes, bytes | None]:
        latest = timestamps.from_ms(round(self.revoked[account] * 1000))
        fact = state_records.Revoked(account, latest)
        return self._keep(state_records.key(fact), fact)

    def _keep(self, key: bytes, fact: Fact | None) -> tuple[bytes, bytes | None]:
        if not self._settled:
            self._said.add(key)
        return key, None if fact is None else state_records.write(fact)

    def _join(self, account: str, room: str) -> None:
        self.rooms.setdefault(account, set()).add(room)
        self.accounts.setdefault(room, set()).add(account)

    def _leave(self, account: str, room: str) -> None:
        for index, name, other in (self.rooms, account, room), (self.accounts, room, account):
            held = index.get(name, set())
            held.discard(other)
            if not held:
                index.pop(name, None)

    def _revoke(self, account: str, before: str) -> None:
        seconds = timestamps.to_ms(before) / 1000
        self.revoked[account] = max(seconds, self.revoked.get(account, 0.0))


def _member(account: str, room: str) -> bytes:
    return state_records.key(state_records.Member(account, room))


def _title(room: str) -> bytes:
    return state_records.key(state_records.Title(room, ""))
