"""`push-bridge listen`: prints a client's events, and comes back as any client should."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
import typer

from bridge.cli.screen import (
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

_FINAL_FROM = 4500
_TRY_AGAIN = 500  # from here on HTTP's answers are a proxy's trouble, not ours
_LONGEST_WAIT = 30.0
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
    target = websocket_url(address(settings.host, settings.port) if url is None else url)
    texts = {"account": account, "token": token, "since": since}
    lists = {"topics": topic, "rooms": room, "types": type}
    wanted = {name: value for name, value in texts.items() if value is not None}
    wanted |= {name: ",".join(values) for name, values in lists.items() if values}
    run(_Listener(target, wanted, as_json).run())


def websocket_url(url: str) -> str:
    """Return where the WebSocket is, given any of the bridge's addresses."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        usable = scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, or half an IPv6 address
        usable = False
    if not usable:
        refuse(f"not an address of a bridge: {url!r}; as http://127.0.0.1:8080", code=2)
    path = parts.path.rstrip("/")
    return urlunsplit(
        (scheme, parts.netloc, path if path.endswith("/ws") else f"{path}/ws", "", "")
    )


class _Listener:
    """A client that prints. It keeps the newest cursor and the positions since."""

    def __init__(self, url: str, wanted: dict[str, str], as_json: bool) -> None:
        self._url = url
        self._wanted = wanted
        self._as_json = as_json
        self._cursor = ""
        self._positions: dict[str, str] = {}
        self._failures = 0
        self._retry_after = 0.0

    async def run(self) -> None:
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        while True:
            self._retry_after = 0.0
            try:
                await self._listen()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                reason = closed.rcvd.reason if closed.rcvd else "the connection broke"
                if code >= _FINAL_FROM:
                    refuse(f"closed for good: {code} {reason}")
                err.print(f"closed: {code} {reason}", style="yellow", markup=False)
            except (OSError, InvalidHandshake) as error:
                if isinstance(error, InvalidStatus) and error.response.status_code < _TRY_AGAIN:
                    refuse(f"refused: {error.response.status_code} {_detail(error.response.body)}")
                err.print(f"{self._url}: {error}", style="yellow", markup=False)
            self._failures += 1
            backoff = min(_LONGEST_WAIT, 0.5 * 2 ** min(self._failures, 10))
            await asyncio.sleep(self._retry_after or random.uniform(0, backoff))  # noqa: S311

    async def _listen(self) -> None:
        from websockets.asyncio.client import connect

        wanted = dict(self._wanted)
        if self._cursor:
            wanted["cursor"] = ",".join([self._cursor, *self._positions.values()])
            wanted.pop("since", None)
        url = f"{self._url}?{urlencode(wanted)}" if wanted else self._url
        async with connect(url, max_size=None, compression=None, ping_interval=None) as socket:
            async for text in socket:
                self._take(_read(text), text if isinstance(text, str) else text.decode())

    def _take(self, frame: dict[str, Any], text: str) -> None:
        if frame["op"] == "event":
            topic, partition, _ = frame["at"].split(":")
            self._positions[f"{topic}:{partition}"] = frame["at"]
        elif frame.get("cursor"):
            self._cursor, self._positions = frame["cursor"], {}
        if frame["op"] == "welcome":
            self._failures = 0
        if frame["op"] == "closing":
            self._retry_after = frame["retry_after"]
        if self._as_json:
            if frame["op"] != "heartbeat":
                out.print(text, markup=False)
        else:
            _show(frame)
        out.file.flush()


def _read(text: str | bytes) -> dict[str, Any]:
    """Read a frame; `data` and `meta` stay as they are written, whatever the size of numbers."""
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return {
        name: bytes(raw).decode() if name in {"data", "meta"} else msgspec.json.decode(raw)
        for name, raw in fields.items()
    }


def _detail(body: bytes | bytearray | None) -> str:
    """What an HTTP answer says is wrong."""
    try:
        return str(json.loads(body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        return (body or b"").decode(errors="replace").strip()


def _show(frame: dict[str, Any]) -> None:
    match frame["op"]:
        case "event":
            body = frame.get("data_base64") or frame.get("data", "").translate(_BLANKS)
            out.print(f"{frame['time']} {frame['topic']}", style="dim", end=" ", markup=False)
            out.print(visible(frame["type"]), style="bold cyan", end=" ", markup=False)
            out.print(f"({visible(frame['to'])})", style="dim", end=" ", markup=False)
            out.print("deleted" if frame.get("deleted") else visible(body), markup=False)
        case "welcome":
            who = frame["account"] or "nobody in particular"
            topics, rooms = ", ".join(frame["topics"]), ", ".join(frame["rooms"]) or "none"
            note = f"connected as {who} to {frame['instance']}: topics {topics}; rooms {rooms}"
            err.print(note, style="green", markup=False)
        case "gap":
            note = f"events of {frame['topic']} were missed ({frame['reason']})"
            err.print(note, style="bold yellow", markup=False)
