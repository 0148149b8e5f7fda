"""The log of `serve` and `dev` on stderr, as text or as one JSON object a line.

Rule: with JSON every line is an object, errors at the start and tracebacks included: a collector
that parses lines loses none. A record may bring more fields in `extra={"fields": ...}`.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from bridge.config.environment import SettingError, read_environment
from bridge.config.yaml_file import read_yaml

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LogFormat = Literal["text", "json"]
_TEXT_FORMAT: Final = "%(asctime)s %(levelname)-7s %(message)s"
_log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII, which any encoding of stderr can write."""

    def __init__(self, instance: str) -> None:
        super().__init__()
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; `time` is in UTC."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": _message(record),
            "instance": self._instance,
            "logger": record.name,
        }
        line |= {k: v for k, v in getattr(record, "fields", {}).items() if k not in line}
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, default=str)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a wrong placeholder in a library; the line is not lost
        return f"{record.msg} {record.args}"


def log_to_stderr(level: str, log_format: LogFormat = "text", instance: str = "") -> None:
    """Write log records to stderr, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(instance) if log_format == "json" else logging.Formatter(_TEXT_FORMAT)
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # At INFO uvicorn logs every connection that it hands over.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if log_format == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        sys.unraisablehook = _log_unraisable
        threading.excepthook = _log_thread_error


def begin_log(config: Path | None) -> None:
    """Choose the format before the settings are checked: an error in them is a line too."""
    values: dict[str, Any] = {}
    try:
        values = read_yaml(config) if config is not None else {}
        values |= {
            name.upper().removeprefix("BRIDGE_").lower(): value
            for name, value in read_environment().items()
        }
    except SettingError:
        pass  # the check of the settings reports it
    if values.get("log_format") == "json":
        instance = values.get("instance")
        log_to_stderr("warning", "json", str(instance or socket.gethostname()))


def is_json() -> bool:
    """Whether stderr has one JSON object a line."""
    return any(isinstance(each.formatter, JsonFormatter) for each in logging.root.handlers)


def write_line(level: int, message: str) -> None:
    """Write one line whatever `BRIDGE_LOG_LEVEL` is: the command itself says it."""
    logging.root.handle(logging.makeLogRecord(_record(level, message)))


def _record(level: int, message: str) -> dict[str, Any]:
    return {
        "name": "push-bridge",
        "levelno": level,
        "levelname": logging.getLevelName(level),
        "msg": message,
    }


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _log.critical("an error ends the process: %s", error, exc_info=(kind, error, traceback))


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    _log.error("an error was ignored in %r: %s", unraisable.object, error, exc_info=error)


def _log_thread_error(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    _log.error("an error ended a thread: %s", error, exc_info=error)
