"""`push-bridge config`: prints every setting, its value and where that comes from.

Rule: no secret is printed, also none that is part of a URL.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import AliasChoices, BaseModel, SecretStr

from bridge.cli.output import ConfigOption, JsonOption, load_settings_or_exit, out
from bridge.config.environment import ENV_PREFIX, read_dotenv
from bridge.config.settings import SettingsGroup
from bridge.config.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo

_HIDDEN: Final = "***"
#: User and query of each URL in a text.
_sub_user: Final = re.compile(r"(?<=://)[^/?#@,\s]*(?:@[^/?#@,\s]*)*@").sub
_sub_query: Final = re.compile(r"(?<=\?)[^#,\s]+").sub


class Setting(NamedTuple):
    """One setting. `value` is what JSON can express, with secrets hidden."""

    name: str
    value: Any
    source: str


def config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print all settings as BRIDGE_NAME=VALUE  # SOURCE; secrets are ***."""
    settings = load_settings_or_exit(config)
    sources = SettingSources(config)
    for setting in list_settings(settings, sources):
        if as_json:
            out.print(json.dumps(setting._asdict()), markup=False)
        else:
            out.print(f"{setting.name}={_as_text(setting.value)}", end="  ", markup=False)
            out.print(f"# {setting.source}", style="dim", markup=False)


class SettingSources:
    """Where each setting was set: the environment, `.env`, the file, or nowhere."""

    def __init__(self, config_path: Path | None) -> None:
        self._variables = {name.upper() for name in os.environ}
        self._dotenv = {name.upper() for name in read_dotenv()}
        self._file = {} if config_path is None else read_yaml(config_path)
        self._file_name = "" if config_path is None else str(config_path)

    def source(self, keys: tuple[str, ...], names: Collection[str]) -> str:
        """Return the source of the setting at `keys`, which has these variable `names`.

        A group may also be one variable, in JSON.
        """
        groups = {ENV_PREFIX + "__".join(keys[:n]).upper() for n in range(1, len(keys))}
        wanted = {*names, *groups}
        if wanted & self._variables:
            return "environment"
        if wanted & self._dotenv:
            return ".env"
        return self._file_name if self._is_in_file(keys, names) else "default"

    def _is_in_file(self, keys: tuple[str, ...], names: Collection[str]) -> bool:
        group: Any = self._file
        for key in keys[:-1]:
            group = group.get(key) if isinstance(group, dict) else None
        last_keys = {name.rpartition("__")[2].removeprefix(ENV_PREFIX).lower() for name in names}
        return isinstance(group, dict) and bool(last_keys & group.keys())


def list_settings(
    group: BaseModel, sources: SettingSources, keys: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """Yield the settings of `group`, in the order of the documentation."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, SettingsGroup):
            yield from list_settings(value, sources, (*keys, name))
            continue
        names = _variable_names(field, (*keys, name))
        yield Setting(names[0], _redact(name, value), sources.source((*keys, name), names))


def _variable_names(field: FieldInfo, keys: tuple[str, ...]) -> list[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [keys[-1]]
    return [ENV_PREFIX + "__".join([*keys[:-1], str(choice)]).upper() for choice in choices]


def _redact(name: str, value: Any) -> Any:  # noqa: ANN401 - any setting
    """Return `value` for JSON. Secrets, and user and query of a URL, are hidden."""
    match value:
        case SecretStr():
            return _HIDDEN
        case BaseModel():
            fields: Mapping[str, Any] = {
                key: getattr(value, key) for key in type(value).model_fields
            }
            defaults = {key: field.default for key, field in type(value).model_fields.items()}
            return {
                key: _redact(key, each) for key, each in fields.items() if each != defaults[key]
            }
        case dict():
            return {key: _redact(str(key), each) for key, each in value.items()}
        case list() | tuple():
            return [_redact(name, each) for each in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return hide_credentials(str(value))


def hide_credentials(text: str) -> str:
    """Return `text` with user, password and query of each URL in it replaced by `***`."""
    return _sub_query(_HIDDEN, _sub_user(f"{_HIDDEN}@", text))


def _as_text(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return `value` as a variable of the environment has it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
