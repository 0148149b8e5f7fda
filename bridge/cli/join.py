"""`push-bridge join` and `push-bridge title`: who is in a room, and what it is called."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.admin_client import Bridge, TokenOption, UrlOption, checked, one_of
from bridge.cli.output import ConfigOption, JsonOption, settings_or_exit, stands


def join(
    room: Annotated[str, typer.Argument(help="The room.")],
    account: Annotated[str | None, typer.Option(help="This account, until a leave.")] = None,
    connection: Annotated[str | None, typer.Option(help="This connection, for its life.")] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Take it back.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an account or a connection into a room; print the command's position."""
    settings = settings_or_exit(config)
    checked(room=room)
    kind, name = one_of(account, connection)
    bridge = Bridge(settings, url, token)
    stands(bridge.do("DELETE" if leave else "PUT", "rooms", room, kind, name), as_json)


def title(
    room: Annotated[str, typer.Argument(help="The room.")],
    title: Annotated[str, typer.Argument(help="What it is called; '' for nothing.")],
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a room is called, for people to read; print the command's position."""
    settings = settings_or_exit(config)
    checked(room=room)
    bridge = Bridge(settings, url, token)
    stands(bridge.do("PUT", "rooms", room, body={"title": title}), as_json)
