"""`push-bridge join` and `push-bridge title`: memberships and titles of rooms."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.admin_client import (
    AdminClient,
    TokenOption,
    UrlOption,
    account_or_connection,
    check_names,
)
from bridge.cli.output import ConfigOption, JsonOption, load_settings_or_exit, print_position


def join(
    room: Annotated[str, typer.Argument(help="The room.")],
    account: Annotated[str | None, typer.Option(help="This account, until it leaves.")] = None,
    connection: Annotated[
        str | None, typer.Option(help="This connection, until it closes.")
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Remove the membership.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an account or a connection to a room; print the command's position."""
    settings = load_settings_or_exit(config)
    check_names(room=room)
    kind, name = account_or_connection(account, connection)
    client = AdminClient(settings, url, token)
    print_position(client.call("DELETE" if leave else "PUT", "rooms", room, kind, name), as_json)


def title(
    room: Annotated[str, typer.Argument(help="The room.")],
    title: Annotated[str, typer.Argument(help="The title; '' removes it.")],
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the title of a room; print the command's position."""
    settings = load_settings_or_exit(config)
    check_names(room=room)
    client = AdminClient(settings, url, token)
    print_position(client.call("PUT", "rooms", room, body={"title": title}), as_json)
