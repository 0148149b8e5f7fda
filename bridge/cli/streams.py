"""Standard input and output that may be closed, full, or a terminal that has gone.

Rule: a result that cannot be written ends the command with a sentence and exit code 1. Messages on
stderr that cannot be written are dropped.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from typing import TextIO

_STDIN, _STDOUT, _STDERR = range(3)


class _ResultStream(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            _exit_unwritten(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            _exit_unwritten(error)


class _MessageStream(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(_STDERR)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(_STDERR)


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 if they are closed, and replace stdout and stderr.

    Otherwise a socket would get such a number, and uvloop aborts when it closes that.
    """
    _open_if_closed(_STDIN, os.O_RDONLY)
    _open_if_closed(_STDOUT, os.O_RDONLY)  # so that writing a result fails
    _open_if_closed(_STDERR, os.O_WRONLY)
    if sys.stdin is None:
        sys.stdin = os.fdopen(_STDIN, closefd=False)
    sys.stdout = _ResultStream(*_take_buffer(sys.stdout, _STDOUT))
    sys.stderr = _MessageStream(*_take_buffer(sys.stderr, _STDERR), line_buffering=True)


def _open_if_closed(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, flags)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)


def _take_buffer(stream: TextIO | None, descriptor: int) -> tuple[Any, str, str]:
    """Return a binary stream, an encoding, and how to write what the encoding lacks."""
    if not isinstance(stream, io.TextIOWrapper):
        raw = io.FileIO(descriptor, "w", closefd=False) if stream is None else stream.buffer
        return (
            io.BufferedWriter(raw) if isinstance(raw, io.FileIO) else raw,
            "utf-8",
            "backslashreplace",
        )
    encoding = stream.encoding
    errors = "backslashreplace" if stream.errors in {None, "strict"} else stream.errors
    return stream.detach(), encoding, errors


def _discard(descriptor: int) -> None:
    """Discard what is still written to `descriptor`, such as at the interpreter's end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _exit_unwritten(error: OSError) -> NoReturn:
    _discard(_STDOUT)
    print(f"cannot write the result to standard output: {error.strerror}", file=sys.stderr)
    raise SystemExit(1) from None
