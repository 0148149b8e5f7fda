"""Applies commands: to what outlives an instance (`Memberships`), to sessions (`CommandExecutor`).

Rule: commands apply in the order of the control topic. A record of the state topic never undoes a
command that was read before it. A revocation is never undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.coordination import state_records
from bridge.core.coordination.commands import (
    MAX_REASON_CHARACTERS,
    Disconnect,
    Join,
    Leave,
    Revoke,
    SetRoomTitle,
)
from bridge.core.protocol import close_codes, timestamps
from bridge.core.sessions.session import MembershipSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.state_records import StateRecord, Tombstone
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


class CommandExecutor:
    """Applies commands to the sessions of `hub`. `memberships` must have each command before."""

    def __init__(self, hub: Hub, memberships: Memberships) -> None:
        self._hub = hub
        self.memberships = memberships

    @property
    def instance(self) -> str:
        """The name of this instance, which a `Drain` is for."""
        return self._hub.instance

    def add_account_rooms(self, session: Session) -> None:
        """Put `session` into the rooms of its account. Call it before the welcome."""
        account = session.permissions.account
        if account is None:
            return
        for room in sorted(self.memberships.rooms_by_account.get(account, ())):
            self._hub.add_membership(session, room, MembershipSource.ACCOUNT)

    def apply(self, command: Command) -> None:
        """Join, leave, disconnect or close the sessions that `command` is about."""
        match command:
            case Join(room=room):
                for session in self._target_sessions(command):
                    if self._hub.add_membership(session, room, _source(command)):
                        self._hub.send_rooms(session, [room], [])
            case Leave(room=room):
                for session in self._target_sessions(command):
                    if self._hub.remove_membership(session, room, _source(command)):
                        self._hub.send_rooms(session, [], [room])
            case Disconnect():
                self._disconnect(command)
            case Revoke(account=account):
                self._close_revoked(account)
            case _:
                pass

    def _close_revoked(self, account: str) -> None:
        for session in self._hub.sessions_of_account(account):
            if self.memberships.is_revoked(account, session.permissions.issued_at):
                self._hub.close(session, close_codes.EXPIRED, discard_queued=True)

    def _disconnect(self, command: Disconnect) -> None:
        close = close_codes.DISCONNECTED
        if command.reason:
            close = close._replace(
                reason=f"{close.reason}: {command.reason[:MAX_REASON_CHARACTERS]}"
            )
        for session in self._target_sessions(command):
            self._hub.close(session, close, discard_queued=True)

    def _target_sessions(self, command: Join | Leave | Disconnect) -> Iterable[Session]:
        if command.connection is not None:
            session = self._hub.registry.by_id.get(command.connection)
            return () if session is None else (session,)
        return () if command.account is None else self._hub.sessions_of_account(command.account)


def _source(command: Join | Leave) -> MembershipSource:
    return MembershipSource.ACCOUNT if command.connection is None else MembershipSource.CONNECTION


class Memberships:
    """Durable memberships, room titles and revocations."""

    def __init__(self) -> None:
        self.rooms_by_account: dict[str, set[str]] = {}
        self.accounts_by_room: dict[str, set[str]] = {}
        self.titles_by_room: dict[str, str] = {}
        #: By account. Tokens issued before this time, in seconds since 1970, are refused.
        self.revoked_before_seconds: dict[str, float] = {}
        self._superseded_keys: set[bytes] = set()  # of state records that a command replaced
        self._is_loaded = False

    def load(self, record: StateRecord | Tombstone) -> tuple[bytes, bytes | None] | None:
        """Apply a record of the state topic while this instance starts.

        Return the key and value that replace what a command has queued, None if nothing does.
        """
        if self._is_loaded:
            return None  # it repeats a command that was applied before
        match record:
            case state_records.Membership() if (
                state_records.record_key(record) not in self._superseded_keys
            ):
                self._join(record.account, record.room)
            case state_records.RoomTitle() if (
                state_records.record_key(record) not in self._superseded_keys
            ):
                self.titles_by_room[record.room] = record.title
            case state_records.TokenRevocation():
                self._revoke(record.account, record.before)
                if state_records.record_key(record) in self._superseded_keys:
                    return self._revocation_record(record.account)
            case state_records.Tombstone("member", (account, room)) if (
                _membership_key(account, room) not in self._superseded_keys
            ):
                self._leave(account, room)
            case state_records.Tombstone("title", (room,)) if (
                _title_key(room) not in self._superseded_keys
            ):
                self.titles_by_room.pop(room, None)
            case _:
                pass
        return None

    def finish_loading(self) -> None:
        """Ignore state records from now on. Everything from before the start is read."""
        self._is_loaded = True
        self._superseded_keys.clear()

    def apply(self, command: Command) -> tuple[bytes, bytes | None] | None:
        """Return the key and value that store `command` in the state topic, None if none do."""
        match command:
            case Join(room=room, account=str(account)):
                self._join(account, room)
                return self._state_record(
                    _membership_key(account, room), state_records.Membership(account, room)
                )
            case Leave(room=room, account=str(account)):
                self._leave(account, room)
                return self._state_record(_membership_key(account, room), None)
            case SetRoomTitle(room=room, title=""):
                self.titles_by_room.pop(room, None)
                return self._state_record(_title_key(room), None)
            case SetRoomTitle(room=room, title=title):
                self.titles_by_room[room] = title
                return self._state_record(_title_key(room), state_records.RoomTitle(room, title))
            case Revoke(account=account, before=str(before)):
                self._revoke(account, before)
                return self._revocation_record(account)
            case _:
                return None

    def is_revoked(self, account: str | None, issued_seconds: float | None) -> bool:
        """Whether a token of `account` is refused. A token without a time counts as older."""
        before_seconds = None if account is None else self.revoked_before_seconds.get(account)
        return before_seconds is not None and (
            issued_seconds is None or issued_seconds < before_seconds
        )

    def _revocation_record(self, account: str) -> tuple[bytes, bytes | None]:
        before = timestamps.ms_to_rfc3339(round(self.revoked_before_seconds[account] * 1000))
        record = state_records.TokenRevocation(account, before)
        return self._state_record(state_records.record_key(record), record)

    def _state_record(self, key: bytes, record: StateRecord | None) -> tuple[bytes, bytes | None]:
        if not self._is_loaded:
            self._superseded_keys.add(key)
        return key, None if record is None else state_records.encode(record)

    def _join(self, account: str, room: str) -> None:
        self.rooms_by_account.setdefault(account, set()).add(room)
        self.accounts_by_room.setdefault(room, set()).add(account)

    def _leave(self, account: str, room: str) -> None:
        for index, name, other in (
            (self.rooms_by_account, account, room),
            (self.accounts_by_room, room, account),
        ):
            entries = index.get(name, set())
            entries.discard(other)
            if not entries:
                index.pop(name, None)

    def _revoke(self, account: str, before: str) -> None:
        before_seconds = timestamps.rfc3339_to_ms(before) / 1000
        self.revoked_before_seconds[account] = max(
            before_seconds, self.revoked_before_seconds.get(account, 0.0)
        )


def _membership_key(account: str, room: str) -> bytes:
    return state_records.record_key(state_records.Membership(account, room))


def _title_key(room: str) -> bytes:
    return state_records.record_key(state_records.RoomTitle(room, ""))
