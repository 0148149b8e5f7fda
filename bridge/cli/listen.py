"""`push-bridge listen`: prints a client's events, and comes back as any client should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    address,
    err,
    out,
    refuse,
    run,
    settings_or_exit,
    visible,
)
from bridge.client import Client, Connected, Disconnected, Event, Gap, Item, Refused, Warned

if TYPE_CHECKING:
    from collections.abc import Mapping

_FROM_CODES = 1000  # below are HTTP's
# Between the tokens of JSON these are blanks; within them there are none.
_BLANKS = dict.fromkeys(map(ord, "\t\n\r"), " ")


def listen(
    url: Annotated[str | None, typer.Argument(help="The bridge: http, https, ws or wss.")] = None,
    account: Annotated[str | None, typer.Option(help="Who, where authentication is off.")] = None,
    token: Annotated[str | None, typer.Option(help="Who, where it is on.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="A topic; repeatable.")] = None,
    room: Annotated[list[str] | None, typer.Option(help="A room; repeatable.")] = None,
    type: Annotated[list[str] | None, typer.Option(help="A type, as order.*; repeatable.")] = None,
    since: Annotated[str | None, typer.Option(help="Replay from this RFC 3339 time.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print events as they arrive, until Ctrl-C."""
    settings = settings_or_exit(config)
    target = address(settings.host, settings.port) if url is None else url
    wanted: dict[str, Any] = {"account": account, "token": token, "since": since}
    wanted |= {"topics": topic or None, "rooms": room or [], "types": type or None}
    run(_print(target, wanted, as_json))


async def _print(url: str, wanted: Mapping[str, Any], as_json: bool) -> None:
    try:
        client = Client(url, **wanted)
    except ValueError as error:
        refuse(str(error), code=2)
    async with client:
        try:
            async for item in client:
                if not as_json:
                    _show(item)
                elif not isinstance(item, Warned) and item.frame is not None:
                    out.print(item.frame, markup=False)
                _note(item, url)
                out.file.flush()
        except Refused as refused:
            how = "closed for good" if refused.code >= _FROM_CODES else "refused"
            refuse(f"{how}: {refused}")


def _note(item: Item, url: str) -> None:
    """Tell of an end that is none for good."""
    match item:
        case Disconnected(code=int(code), reason=reason) if code >= _FROM_CODES:
            err.print(f"closed: {code} {reason}", style="yellow", markup=False)
        case Disconnected(code=code, reason=reason):
            why = reason if code is None else f"{code} {reason}"
            err.print(f"{url}: {why}", style="yellow", markup=False)


def _show(item: Item) -> None:
    match item:
        case Event():
            body = item.data_base64 or (item.data_text or "").translate(_BLANKS)
            out.print(f"{item.time} {item.topic}", style="dim", end=" ", markup=False)
            out.print(visible(item.type), style="bold cyan", end=" ", markup=False)
            out.print(f"({visible(item.to)})", style="dim", end=" ", markup=False)
            out.print("deleted" if item.deleted else visible(body), markup=False)
        case Connected():
            who = item.account or "nobody in particular"
            topics, rooms = ", ".join(item.topics), ", ".join(item.rooms) or "none"
            note = f"connected as {who} to {item.instance}: topics {topics}; rooms {rooms}"
            err.print(note, style="green", markup=False)
        case Gap():
            note = f"events of {item.topic} were missed ({item.reason})"
            err.print(note, style="bold yellow", markup=False)
