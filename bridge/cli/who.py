"""`push-bridge who`: the clients that are connected, to whichever instance."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bridge.cli.admin_client import Bridge, TokenOption, UrlOption, checked
from bridge.cli.output import ConfigOption, JsonOption, err, out, settings_or_exit, visible

_COLUMNS: Final = {
    "id": "connection",
    "account": "account",
    "rooms": "rooms",
    "topics": "topics",
    "types": "types",
    "instance": "instance",
    "address": "address",
    "since": "since",
    "heard": "heard",
    "queued_bytes": "queued",
}


def who(
    account: Annotated[str | None, typer.Option(help="Those of this account.")] = None,
    room: Annotated[str | None, typer.Option(help="Those in this room.")] = None,
    topic: Annotated[str | None, typer.Option(help="Those that follow this topic.")] = None,
    instance: Annotated[str | None, typer.Option(help="Those connected to it.")] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print who is connected, to whichever instance."""
    settings = settings_or_exit(config)
    checked(account=account, room=room, topic=topic, instance=instance)
    wanted = {"account": account, "room": room, "topic": topic, "instance": instance}
    found = Bridge(settings, url, token).items("connections", **wanted)
    if as_json:
        for each in found:
            out.print(json.dumps(each, ensure_ascii=False), markup=False)
    else:
        _show(list(found))


def _show(connections: list[dict[str, Any]]) -> None:
    if not connections:
        err.print("nobody", style="yellow")
        return
    rows = [[_cell(name, each[name]) for name in _COLUMNS] for each in connections]
    if out.is_terminal:
        _draw(rows)
        return
    # A program gets one line for each, however long.
    rows.insert(0, [*_COLUMNS.values()])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        out.file.write("  ".join(cells).rstrip() + "\n")


def _draw(rows: list[list[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, title in _COLUMNS.items():
        table.add_column(title, overflow="fold", style="cyan" if name == "id" else "")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table, soft_wrap=False)


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if value is None:
        return "all" if name == "types" else "-"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return visible(text) or "-"
