"""`push-bridge kick`: disconnects clients, and refuses their tokens from now on."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.admin_client import AdminClient, TokenOption, UrlOption, account_or_connection
from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    exit_with_error,
    load_settings_or_exit,
    print_position,
)


def kick(
    account: Annotated[str | None, typer.Option(help="Every connection of this account.")] = None,
    connection: Annotated[str | None, typer.Option(help="This connection.")] = None,
    reason: Annotated[str | None, typer.Option(help="What the client is told.")] = None,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Refuse tokens issued before now, too.")
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Disconnect an account or a connection; print the command's position."""
    settings = load_settings_or_exit(config)
    kind, name = account_or_connection(account, connection)
    if revoke and account is None:
        exit_with_error("--revoke: tokens are of an account, so it goes with --account", code=2)
    client = AdminClient(settings, url, token)
    # Who is told that it was disconnected does not come back; who does all the same is refused.
    segments = (kind, name) if account is None else (kind, name, "connections")
    print_position(client.call("DELETE", *segments, reason=reason), as_json)
    if revoke:
        print_position(client.call("POST", kind, name, "revoke"), as_json)
