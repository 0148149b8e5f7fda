"""`push-bridge listen`: prints a client's events, and reconnects as clients must."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from bridge.cli.durations import parse_duration
from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    err,
    escape_unprintable,
    exit_with_error,
    load_settings_or_exit,
    local_url,
    out,
    run,
)
from bridge.client import Client, Connected, Disconnected, Event, Gap, Item, Refused, Rooms, Warned
from bridge.client.options import websocket_url
from bridge.config.environment import LISTEN_TOKEN, read_dotenv
from bridge.web.auth.http_client import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_CLOSE_CODE = 1000  # smaller codes are HTTP statuses
# In valid JSON these occur only between tokens.
_WHITESPACE = dict.fromkeys(map(ord, "\t\n\r"), " ")


def listen(
    url: Annotated[str | None, typer.Argument(help="The bridge: http, https, ws or wss.")] = None,
    account: Annotated[
        str | None, typer.Option(help="The account, if authentication is off.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="The token, if it is on.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="A topic; repeatable.")] = None,
    room: Annotated[list[str] | None, typer.Option(help="A room; repeatable.")] = None,
    type: Annotated[
        list[str] | None, typer.Option(help="A type, such as order.*; repeatable.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Replay from this RFC 3339 time, or 90s, 15m, 1h or 7d ago."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print events as they arrive, until Ctrl-C."""
    settings = load_settings_or_exit(config)
    if token is None and account is None:
        token = os.environ.get(LISTEN_TOKEN) or read_dotenv().get(LISTEN_TOKEN) or None
    if since is not None:
        since = since_time(since, datetime.now(UTC))
    bridge_url = local_url(settings.host, settings.port) if url is None else url
    options: dict[str, Any] = {"account": account, "token": token, "since": since}
    options |= {"topics": topic or None, "rooms": room or [], "types": type or None}
    run(_print_events(bridge_url, options, as_json))


async def _print_events(url: str, options: Mapping[str, Any], as_json: bool) -> None:
    try:
        is_loopback = is_loopback_host(urlsplit(websocket_url(url)).hostname or "")
        # A proxy would be handed the token, and cannot reach this machine's loopback.
        client = Client(url, **options, dial={"proxy": None} if is_loopback else {})
    except ValueError as error:
        exit_with_error(str(error), code=2)
    async with client:
        try:
            async for item in client:
                if not as_json:
                    _print_item(item)
                elif not isinstance(item, Warned) and item.frame is not None:
                    out.print(item.frame, markup=False)
                _print_disconnect(item, url)
                out.file.flush()
        except Refused as refused:
            outcome = "closed for good" if refused.code >= _MIN_CLOSE_CODE else "refused"
            exit_with_error(f"{outcome}: {refused}")


def since_time(since: str, now: datetime) -> str:
    """Return the RFC 3339 time of a duration before `now`; other text as it is."""
    try:
        if (duration := parse_duration(since)) is None:
            return since
        time = now - duration
    except OverflowError:
        exit_with_error(f"--since: no time is that long ago: {since!a}", code=2)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_disconnect(item: Item, url: str) -> None:
    """Print why a connection ended after which the client reconnects."""
    match item:
        case Disconnected(code=int(code), reason=reason) if code >= _MIN_CLOSE_CODE:
            err.print(f"closed: {code} {reason}", style="yellow", markup=False)
        case Disconnected(code=code, reason=reason):
            cause = reason if code is None else f"{code} {reason}"
            err.print(f"{url}: {cause}", style="yellow", markup=False)


def _print_item(item: Item) -> None:
    match item:
        case Event():
            body = item.data_base64 or (item.data_text or "").translate(_WHITESPACE)
            out.print(f"{item.time} {item.topic}", style="dim", end=" ", markup=False)
            out.print(escape_unprintable(item.type), style="bold cyan", end=" ", markup=False)
            out.print(f"({escape_unprintable(item.to)})", style="dim", end=" ", markup=False)
            out.print("deleted" if item.deleted else escape_unprintable(body), markup=False)
        case Connected():
            account = item.account or "nobody in particular"
            topics, rooms = ", ".join(item.topics), ", ".join(item.rooms) or "none"
            note = f"connected as {account} to {item.instance}: topics {topics}; rooms {rooms}"
            err.print(note, style="green", markup=False)
        case Gap():
            note = f"events of {item.topic} were missed ({item.reason})"
            err.print(note, style="bold yellow", markup=False)
        case Rooms():
            changes = [*(f"+{room}" for room in item.joined), *(f"-{room}" for room in item.left)]
            note = f"rooms: {escape_unprintable(' '.join(changes))}"
            err.print(note, style="green", markup=False)
