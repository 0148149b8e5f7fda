"""`push-bridge kick`: disconnects clients, and refuses their tokens from now on."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.admin_client import Bridge, TokenOption, UrlOption, one_of
from bridge.cli.output import ConfigOption, JsonOption, refuse, settings_or_exit, stands


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
    settings = settings_or_exit(config)
    kind, name = one_of(account, connection)
    if revoke and account is None:
        refuse("--revoke: tokens are of an account, so it goes with --account", code=2)
    bridge = Bridge(settings, url, token)
    # Who is told that it was disconnected does not come back; who does all the same is refused.
    parts = (kind, name) if account is None else (kind, name, "connections")
    stands(bridge.do("DELETE", *parts, reason=reason), as_json)
    if revoke:
        stands(bridge.do("POST", kind, name, "revoke"), as_json)
