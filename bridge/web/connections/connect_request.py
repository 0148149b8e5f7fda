"""Parses and checks what a client asks for when it connects, by URL or by its hello.

Rule: both ways have the same parameters and rules. An error names the parameter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from bridge.core.protocol import timestamps
from bridge.core.protocol.cursor import InvalidCursor, decode_cursor
from bridge.core.protocol.event import TypeFilter
from bridge.core.protocol.frames import Hello
from bridge.core.protocol.names import is_valid_name, is_valid_topic

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bridge.core.protocol.cursor import Cursor
    from bridge.web.auth.authenticator import Credentials

_LIST_PARAMETERS = frozenset({"topics", "rooms", "types"})
_MAX_PARAMETERS = 50
_match_unescaped = re.compile("[^%+\x80-\U0010ffff]*").fullmatch
_TEXT_PARAMETERS = frozenset({"cursor", "since", "token", "account"})


class BadRequest(ValueError):
    """A malformed request. The message is for the client."""


class ConnectRequest(NamedTuple):
    """A well-formed request. `topics` of None means all that it may read without naming them.

    `cursor_text` is the cursor as the client sent it.
    """

    topics: frozenset[str] | None
    rooms: tuple[str, ...]
    types: TypeFilter | None
    cursor_text: str
    cursor: Cursor | None
    since_ms: int | None = None


class UrlRequest(NamedTuple):
    """What a URL asks for; None where a hello follows."""

    hello: Hello | None
    connect_request: ConnectRequest | None


def parse_websocket_query(query: str) -> Hello | None:
    """Return the parameters of a URL as a hello; None if it says that a hello follows.

    Raises:
        BadRequest: If `hello=1` is not alone, or a parameter is unknown, empty or repeated.
    """
    pairs = _split_query(query)
    if any(name == "hello" for name, _ in pairs):
        if pairs != [("hello", "1")]:
            raise BadRequest("hello=1 stands alone: everything else is in the hello")
        return None
    return _parse_parameters(pairs, ())[0]


def parse_query(query: str) -> Hello:
    """Return the parameters of a URL as a hello.

    Raises:
        BadRequest: If one is unknown, empty or given twice.
    """
    return parse_query_with_extras(query, ())[0]


def parse_query_with_extras(
    query: str, extra_names: Collection[str]
) -> tuple[Hello, dict[str, str]]:
    """Return the parameters of a URL as a hello, and those in `extra_names` by name.

    The latter may be empty.

    Raises:
        BadRequest: If one is unknown, empty or given twice.
    """
    return _parse_parameters(_split_query(query), extra_names)


def _parse_parameters(
    pairs: Sequence[tuple[str, str]], extra_names: Collection[str]
) -> tuple[Hello, dict[str, str]]:
    lists: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    extras: dict[str, str] = {}
    for name, value in pairs:
        if name in lists or name in texts or name in extras:
            raise BadRequest(f"{name} is given twice")
        if name in extra_names:
            extras[name] = value
        elif not value:
            raise BadRequest(f"{name} is empty")
        elif name in _LIST_PARAMETERS:
            lists[name] = value.split(",")
        elif name in _TEXT_PARAMETERS:
            texts[name] = value
        else:
            raise BadRequest(f"no such parameter: {name[:100]!r}")
    # The names are those of the two sets above.
    return Hello(**lists, **texts), extras  # type: ignore[arg-type]


def _split_query(query: str) -> list[tuple[str, str]]:
    if _match_unescaped(query) and query.count("&") < _MAX_PARAMETERS:  # nothing is escaped
        parts = [part.partition("=") for part in query.split("&") if part]
        return [(name, value) for name, _, value in parts]
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:
        raise BadRequest(f"the query can not be read: {error}") from None


def parse_connect_request(hello: Hello, *, max_topics: int, max_rooms: int) -> ConnectRequest:
    """Check the form of what `hello` asks for.

    Raises:
        BadRequest: If a name, type, cursor or time is malformed, or there are too many.
    """
    topics = None if hello.topics is None else frozenset(hello.topics)
    rooms = tuple(dict.fromkeys(hello.rooms or ()))
    for topic in topics or ():
        if not is_valid_topic(topic):
            raise BadRequest(f"topics: no topic can be called {topic[:200]!r}")
    for room in rooms:
        if not is_valid_name(room):
            raise BadRequest(f"rooms: no room can be called {room[:200]!r}")
    if hello.account is not None and not is_valid_name(hello.account):
        raise BadRequest(f"account: no account can be called {hello.account[:200]!r}")
    if len(topics or ()) > max_topics:
        raise BadRequest(f"topics: more than {max_topics} (BRIDGE_LIMITS__TOPICS)")
    if len(rooms) > max_rooms:
        raise BadRequest(f"rooms: more than {max_rooms} (BRIDGE_LIMITS__ROOMS)")
    types, since_ms = _parse_types(hello), _parse_since(hello)
    return ConnectRequest(topics, rooms, types, hello.cursor or "", _parse_cursor(hello), since_ms)


def complete_credentials(
    credentials: Credentials, hello: Hello, connect_request: ConnectRequest
) -> Credentials:
    """Return the credentials of the headers, which win, with those of the parameters."""
    return credentials._replace(
        token=credentials.token or hello.token,
        account=hello.account,
        topics=connect_request.topics,
        rooms=connect_request.rooms,
    )


def _parse_types(hello: Hello) -> TypeFilter | None:
    try:
        return None if hello.types is None else TypeFilter(hello.types)
    except ValueError as error:
        raise BadRequest(f"types: {error}") from None


def _parse_cursor(hello: Hello) -> Cursor | None:
    if hello.cursor is None:
        return None
    try:
        return decode_cursor(hello.cursor)
    except InvalidCursor as error:
        raise BadRequest(f"cursor: {error}") from None


def _parse_since(hello: Hello) -> int | None:
    if hello.since is None:
        return None
    if hello.cursor is not None:
        raise BadRequest("since: not together with a cursor, which says where to go on")
    try:
        return timestamps.rfc3339_to_ms(hello.since)
    except ValueError as error:
        raise BadRequest(f"since: {error}") from None
