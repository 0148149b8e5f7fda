"""`push-bridge who`: the connections of all instances."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bridge.cli.admin_client import AdminClient, TokenOption, UrlOption, check_names
from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    err,
    escape_unprintable,
    load_settings_or_exit,
    out,
)

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
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    room: Annotated[str | None, typer.Option(help="Only members of this room.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only subscribers of this topic.")] = None,
    instance: Annotated[str | None, typer.Option(help="Only this instance.")] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the connections of all instances."""
    settings = load_settings_or_exit(config)
    check_names(account=account, room=room, topic=topic, instance=instance)
    filters = {"account": account, "room": room, "topic": topic, "instance": instance}
    connections = AdminClient(settings, url, token).list_items("connections", **filters)
    if as_json:
        for connection in connections:
            out.print(json.dumps(connection, ensure_ascii=False), markup=False)
    else:
        _print_connections(list(connections))


def _print_connections(connections: list[dict[str, Any]]) -> None:
    if not connections:
        err.print("nobody", style="yellow")
        return
    rows = [
        [_format_cell(name, connection[name]) for name in _COLUMNS] for connection in connections
    ]
    if out.is_terminal:
        _print_table(rows)
        return
    # Not a terminal: one line for each connection, whatever its length.
    rows.insert(0, [*_COLUMNS.values()])
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        out.file.write("  ".join(cells).rstrip() + "\n")


def _print_table(rows: list[list[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, title in _COLUMNS.items():
        table.add_column(title, overflow="fold", style="cyan" if name == "id" else "")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table, soft_wrap=False)


def _format_cell(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if value is None:
        return "all" if name == "types" else "-"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return escape_unprintable(text) or "-"
