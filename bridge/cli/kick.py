"""`push-bridge kick`: disconnects clients and, on request, revokes their tokens."""

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
    reason: Annotated[str | None, typer.Option(help="The reason that the client receives.")] = None,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Also refuse tokens issued before now.")
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
        exit_with_error("--revoke: needs --account, because tokens belong to accounts", code=2)
    client = AdminClient(settings, url, token)
    # Disconnect first: such a client does not reconnect. If it does, the revocation refuses it.
    segments = (kind, name) if account is None else (kind, name, "connections")
    print_position(client.call("DELETE", *segments, reason=reason), as_json)
    if revoke:
        print_position(client.call("POST", kind, name, "revoke"), as_json)
