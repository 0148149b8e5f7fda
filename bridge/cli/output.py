"""What the commands print: results on stdout, everything else on stderr, colours only to people."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from bridge.config.settings import SettingError, Settings, load

if TYPE_CHECKING:
    from collections.abc import Coroutine

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

# `:100:` in somebody's data is no emoji.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


def settings_or_exit(config: Path | None, **defaults: Any) -> Settings:  # noqa: ANN401
    """Return the settings; where one is wrong, say so in a line and exit with 2."""
    try:
        return load(config, **defaults)
    except SettingError as error:
        refuse(str(error), code=2)


def address(host: str, port: int) -> str:
    """Return the URL of what listens on `host` and `port`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def visible(text: str) -> str:
    """Return `text` with what a terminal would obey written out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def refuse(sentence: str, *, code: int = 1) -> NoReturn:
    """Say why not, and exit."""
    err.print(sentence, style="red", markup=False)
    raise typer.Exit(code)


def stands(answer: dict[str, Any], as_json: bool) -> None:
    """Print where a command stands that was ordered."""
    out.print(json.dumps({"at": answer["at"]}) if as_json else answer["at"], markup=False)


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

    factory = asyncio.new_event_loop
    with contextlib.suppress(ImportError):  # there is none for Windows
        import uvloop

        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
