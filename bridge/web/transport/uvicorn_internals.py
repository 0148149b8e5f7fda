"""uvicorn's classes that the bridge subclasses, overrides or reads inside.

Rule: nothing else in the bridge imports uvicorn. `check_uvicorn` compares what it finds with what
the bridge needs, and raises one sentence about the first difference.
"""

from __future__ import annotations

import dis
import inspect
from functools import cache
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Config",
    "FlowControl",
    "RequestResponseCycle",
    "Server",
    "ServerState",
    "UnsupportedUvicorn",
    "check_uvicorn",
    "get_local_addr",
    "get_remote_addr",
]

#: The versions that the bridge works with, as in pyproject.toml.
SUPPORTED_VERSION: Final = "0.54.*"

#: Parameters of the methods that the bridge overrides or calls, without `self`.
METHODS: Final[Mapping[type, Mapping[str, tuple[str, ...]]]] = {
    FlowControl: {
        "__init__": ("transport",),
        "pause_reading": (),
        "pause_writing": (),
        "resume_reading": (),
        "resume_writing": (),
    },
    RequestResponseCycle: {
        "__init__": (
            *("scope", "transport", "flow", "logger", "access_logger", "access_log"),
            *("default_headers", "message_event", "expect_100_continue", "keep_alive"),
            "on_response",
        ),
        "receive": (),
        "run_asgi": ("app",),
        "send": ("message",),
    },
    Server: {
        "capture_signals": (),
        "handle_exit": ("sig", "frame"),
        "serve": ("sockets",),
        "shutdown": ("sockets",),
    },
}
#: Attributes that the bridge reads or sets, each of which uvicorn's own methods set.
ATTRIBUTES: Final[Mapping[type, tuple[str, ...]]] = {
    FlowControl: ("read_paused",),
    RequestResponseCycle: (
        *("body", "disconnected", "keep_alive", "message_event", "more_body"),
        *("response_complete", "response_started", "scope", "waiting_for_100_continue"),
    ),
    ServerState: ("connections", "default_headers", "tasks"),
    Server: ("force_exit", "server_state", "should_exit"),
    Config: ("loaded_app", "ws_protocol_class"),
}
#: Settings of `Config` that the bridge makes.
OPTIONS: Final = (
    *("app", "http", "ws", "lifespan", "log_config", "access_log", "server_header"),
    *("proxy_headers", "backlog", "timeout_graceful_shutdown"),
)


class UnsupportedUvicorn(RuntimeError):
    """The uvicorn that is installed differs inside from the one that the bridge needs."""


def check_uvicorn() -> None:
    """Compare uvicorn's inside with what the bridge needs.

    Raises:
        UnsupportedUvicorn: If a method, a parameter or an attribute has changed.
    """
    for difference in _differences():
        raise UnsupportedUvicorn(
            f"uvicorn {uvicorn.__version__} does not fit the bridge: {difference}; install uvicorn"
            f" {SUPPORTED_VERSION}"
        )


def _differences() -> Iterable[str]:
    for owner, methods in METHODS.items():
        for name, needed in methods.items():
            method = getattr(owner, name, None)
            if method is None:
                yield f"{owner.__name__} has no method {name}"
            elif (found := tuple(inspect.signature(method).parameters)[1:]) != needed:
                yield f"{owner.__name__}.{name} takes {_names(found)}, not {_names(needed)}"
    for owner, attributes in ATTRIBUTES.items():
        for name in sorted(set(attributes) - _set_attributes(owner)):
            yield f"{owner.__name__} has no attribute {name}"
    for name in sorted(set(OPTIONS) - set(inspect.signature(Config).parameters)):
        yield f"Config has no option {name}"


def _names(parameters: tuple[str, ...]) -> str:
    return f"({', '.join(parameters)})"


def _set_attributes(owner: type) -> set[str]:
    """Return the names of the attributes that the methods of `owner` set."""
    methods = filter(inspect.isfunction, vars(owner).values())
    return set().union(*map(_attributes_set_by, methods))


@cache  # a server takes 10 ms to disassemble uvicorn, and a process may build several
def _attributes_set_by(method: Callable[..., object]) -> frozenset[str]:
    return frozenset(
        instruction.argval
        for instruction in dis.get_instructions(method)
        if instruction.opname == "STORE_ATTR"
    )
