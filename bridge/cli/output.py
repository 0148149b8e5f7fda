"""What the commands print: results on stdout, everything else on stderr, colours only to people."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from bridge.config.settings import SettingError, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

# `:100:` in somebody's data is no emoji.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


def load_settings_or_exit(config: Path | None, **defaults: Any) -> Settings:  # noqa: ANN401
    """Return the settings; where one is wrong, say so in a line and exit with 2."""
    try:
        return load_settings(config, **defaults)
    except SettingError as error:
        exit_with_error(str(error), code=2)


def http_url(host: str, port: int) -> str:
    """Return the URL of what listens on `host` and `port`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def escape_unprintable(text: str) -> str:
    """Return `text` with what a terminal would obey written out."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def exit_with_error(message: str, *, code: int = 1) -> NoReturn:
    """Say why not, and exit."""
    err.print(message, style="red", markup=False)
    raise typer.Exit(code)


def print_position(response: dict[str, Any], as_json: bool) -> None:
    """Print where a command stands that was ordered."""
    out.print(json.dumps({"at": response["at"]}) if as_json else response["at"], markup=False)


def log_to_stderr(level: str) -> None:
    """Let the log go to stderr, one line each."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(message)s", force=True
    )
    # uvicorn tells of every socket it hands over.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on the fastest loop there is; Ctrl-C is no error."""
    import asyncio

    loop_factory = asyncio.new_event_loop
    with contextlib.suppress(ImportError):  # there is none for Windows
        import uvloop

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
