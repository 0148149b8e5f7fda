"""`push-bridge completion`: prints what makes a shell complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

# Not in typer's `__all__`; tests/cli/test_completion.py runs what it prints in each shell.
from typer.completion import (  # type: ignore[attr-defined]
    completion_init,
    get_completion_script,
)

_PROGRAM: Final = "push-bridge"
#: The variable by which a shell asks the command for completions.
_VARIABLE: Final = "_PUSH_BRIDGE_COMPLETE"


class Shell(StrEnum):
    """The shells that commands are completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print the completions of a shell; bash: eval "$(push-bridge completion bash)"."""
    script = get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell.value)
    typer.echo(script)


def answer_completions() -> None:
    """Let the command answer a shell that asks for completions."""
    completion_init()
