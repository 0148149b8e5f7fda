"""The command `push-bridge`: one module per command.

Rule: a wrong setting or option is one line on stderr that names it, and exit code 2. Any other
failure, such as a broker that does not answer, is a sentence and exit code 1.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bridge import __version__
from bridge.cli import (
    bench,
    check,
    completion,
    config,
    dev,
    explain,
    join,
    kick,
    listen,
    publish,
    serve,
    token,
    who,
)
from bridge.cli.streams import open_standard_streams

app = typer.Typer(
    name="push-bridge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """From Kafka to every browser, phone and terminal that should know."""


app.command()(dev.dev)
app.command()(serve.serve)
app.command()(check.check)
app.command()(explain.explain)
app.command()(publish.publish)
app.command()(listen.listen)
app.command()(join.join)
app.command()(join.title)
app.command()(kick.kick)
app.command()(who.who)
app.command()(bench.bench)
app.command()(token.token)
app.command()(config.config)
app.command()(completion.completion)


def main() -> None:
    """Run the command line."""
    open_standard_streams()
    completion.answer_completions()
    app(prog_name="push-bridge")
