"""What all commands share: options, settings, printing, the event loop.

Rule: results go to stdout, everything else to stderr, colours only to a terminal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from bridge.cli import log_output
from bridge.config.environment import kubernetes_variables, read_dotenv
from bridge.config.settings import SettingError, Settings, load_settings
from bridge.config.validators import check_bootstrap_servers

if TYPE_CHECKING:
    from collections.abc import Coroutine

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]

# `:100:` in event data must stay as it is.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red"}


def load_settings_or_exit(config: Path | None, **defaults: Any) -> Settings:  # noqa: ANN401
    """Return the settings; if one is wrong, print one line and exit with 2; 1 if a route is."""
    try:
        settings = load_settings(config, **defaults)
        ignored = kubernetes_variables({**read_dotenv(), **os.environ})
    except SettingError as error:
        exit_with_error(str(error), code=error.exit_code)
    if ignored:
        print_notice(
            f"ignored, Kubernetes sets them for a Service: {', '.join(ignored)};"
            " to end this, rename the Service or set enableServiceLinks: false",
            logging.WARNING,
        )
    return settings


def check_servers(servers: str | None) -> None:
    """Exit with 2 if the option `--kafka` is set and malformed."""
    try:
        check_bootstrap_servers(servers or "localhost")
    except ValueError as error:
        exit_with_error(f"--kafka: {error}", code=2)


def http_url(host: str, port: int) -> str:
    """Return a URL; an IPv6 address gets its brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def local_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a bridge that listens on `host`."""
    return http_url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104


def escape_unprintable(text: str) -> str:
    """Return `text` with control characters escaped, so that a terminal does not execute them."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def exit_with_error(message: str, *, code: int = 1) -> NoReturn:
    """Print the message in red on stderr and exit."""
    print_notice(message, logging.ERROR)
    raise typer.Exit(code)


def print_notice(message: str, level: int = logging.INFO) -> None:
    """Print a line on stderr, or log it where the log is JSON."""
    if log_output.is_json():
        log_output.write_line(level, message)
    else:
        err.print(message, style=_STYLES.get(level), markup=False)


def print_position(response: dict[str, Any], as_json: bool) -> None:
    """Print the position of a command in the control topic."""
    out.print(json.dumps({"at": response["at"]}) if as_json else response["at"], markup=False)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on uvloop where it exists; Ctrl-C exits with 130."""
    import asyncio

    loop_factory = asyncio.new_event_loop
    with contextlib.suppress(ImportError):  # not on Windows
        import uvloop

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
