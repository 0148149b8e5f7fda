"""Variables of the process and of `.env` in the working folder; the process's own win.

Rule: a variable that has no effect is refused, except those that Kubernetes sets for a Service.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv.main import DotEnv
from dotenv.parser import parse_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ENV_PREFIX: Final = "BRIDGE_"
#: Only the command `listen` uses it.
LISTEN_TOKEN: Final = "BRIDGE_TOKEN"  # noqa: S105 - a variable's name
_DOTENV = Path(".env")
_QUOTES: Final = ("'", '"')


class SettingError(Exception):
    """An unknown or invalid setting. The message is one line that begins with its name."""

    exit_code = 2


class WrongRoute(SettingError):
    """A route that cannot be right, or a Kafka topic with two names."""

    exit_code = 1


def read_environment() -> dict[str, str]:
    """Return all variables, without those that Kubernetes sets for a Service.

    Raises:
        SettingError: If `.env` cannot be read, or a variable of the bridge is set twice.
    """
    variables = {**read_dotenv(), **os.environ}
    ignored = kubernetes_variables(variables)
    kept = {name: value for name, value in variables.items() if name not in ignored}
    names: dict[str, str] = {}
    for name, value in kept.items():
        if not name.upper().startswith(ENV_PREFIX):
            continue
        other = names.setdefault(name.upper(), name)
        if other != name:
            raise SettingError(f"{name}: is set twice, as {other} too; remove one")
        # `docker run --env-file` passes quotes on as part of the value.
        is_quoted = len(value) > 1 and value[0] in _QUOTES and value[0] == value[-1]
        if is_quoted and not name.upper().endswith("PASSWORD"):
            raise SettingError(f"{name}: has quotes around it, as part of its value; remove them")
    return kept


def read_dotenv() -> dict[str, str]:
    """Return the variables of `.env`. A value stays as written: `${NAME}` is not replaced.

    Raises:
        SettingError: If the file cannot be read, or a line or a name is wrong.
    """
    try:  # `.env` may also be a folder with a virtual environment
        text = _DOTENV.read_text(encoding="utf-8-sig") if _DOTENV.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise SettingError(".env: cannot read the file; it must be readable UTF-8 text") from None
    names: set[str] = set()
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line
        name = (binding.key or "").upper()
        is_ours = name.startswith(ENV_PREFIX)
        if binding.error or (is_ours and binding.value is None):
            raise SettingError(f".env: line {line} is invalid; write NAME=value")
        if is_ours and name in names:
            raise SettingError(f".env: line {line} sets {binding.key} again; remove one")
        names.add(name)
    values = DotEnv(None, stream=StringIO(text), interpolate=False).dict()
    return {name: value for name, value in values.items() if value is not None}


def kubernetes_variables(variables: Mapping[str, str]) -> list[str]:
    """Return the names that Kubernetes sets for Services whose name begins with `bridge`.

    Such a name belongs to a Service only if `SERVICE_SERVICE_HOST` is an address, and its value
    has the form that Kubernetes writes.
    """
    services = [
        name.removesuffix("_SERVICE_HOST")
        for name, value in variables.items()
        if name.startswith(ENV_PREFIX) and name.endswith("_SERVICE_HOST") and _is_address(value)
    ]
    return sorted(
        name
        for name, value in variables.items()
        if name.startswith(ENV_PREFIX)
        and any(_is_of_service(name, value, service) for service in services)
    )


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit()


_is_url: Final = re.compile(r"(?:tcp|udp|sctp)://\S+").fullmatch
_is_protocol: Final = re.compile(r"(?:tcp|udp|sctp)").fullmatch
#: What Kubernetes writes, by the name's ending behind the Service's name.
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[str], object]], ...]] = (
    (re.compile(r"_SERVICE_HOST"), _is_address),
    (re.compile(r"_SERVICE_PORT(_[A-Z0-9_]+)?"), _is_number),
    (re.compile(r"_PORT"), _is_url),
    (re.compile(r"_PORT_[0-9]+_(TCP|UDP|SCTP)"), _is_url),
    (re.compile(r"_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO"), _is_protocol),
    (re.compile(r"_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT"), _is_number),
    (re.compile(r"_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR"), _is_address),
)


def _is_of_service(name: str, value: str, service: str) -> bool:
    if not name.startswith(service):
        return False
    ending = name.removeprefix(service)
    return any(pattern.fullmatch(ending) and fits(value) for pattern, fits in _FORMS)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the most similar of `known`; empty if none is similar."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" did you mean {matches[0]}?" if matches else ""
