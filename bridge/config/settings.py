"""All settings, from `BRIDGE_*` variables, `.env` and a YAML file, in this order of precedence.

Rule: an unknown or invalid setting stops the start with one line that names it. Only `app` and
`cli` read settings; all other packages get plain values.
"""

from __future__ import annotations

import json
import socket
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from bridge.config import validators
from bridge.config.environment import (
    ENV_PREFIX,
    LISTEN_TOKEN,
    SettingError,
    WrongRoute,
    nearest,
    read_environment,
)
from bridge.config.routes import RouteError
from bridge.config.topics import TopicDefinition, TopicDefinitions
from bridge.config.yaml_file import find_line, read_yaml
from bridge.core.protocol.names import is_valid_name, is_valid_topic

#: Pydantic's errors where text was expected; a topic may be a mapping too.
_TEXT_ERRORS = ("string_type", "model_type")
_SECRET_WORDS = ("secret", "password", "token")


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic.fields import FieldInfo

__all__ = ["SettingError", "Settings", "load_settings"]


class SettingsGroup(BaseModel):
    """Settings with a common prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    _check_numbers = model_validator(mode="before")(validators.refuse_yes_as_number)


class KafkaSettings(SettingsGroup):
    """Access to Kafka. The SASL and TLS settings have the names of aiokafka."""

    bootstrap_servers: Annotated[str, AfterValidator(validators.check_bootstrap_servers)] = (
        "localhost:9092"
    )
    prefix: str = "push-bridge"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_plain_username: str | None = None
    sasl_plain_password: SecretStr | None = None
    sasl_kerberos_service_name: str = "kafka"
    sasl_kerberos_domain_name: str | None = None
    ssl_cafile: Path | None = Field(None, validation_alias=AliasChoices("ssl_cafile", "cafile"))
    ssl_certfile: Path | None = Field(
        None, validation_alias=AliasChoices("ssl_certfile", "certfile")
    )
    ssl_keyfile: Path | None = Field(None, validation_alias=AliasChoices("ssl_keyfile", "keyfile"))
    ssl_password: SecretStr | None = Field(
        None, validation_alias=AliasChoices("ssl_password", "password")
    )
    fetch_max_wait_ms: int = Field(500, ge=1, le=30_000)
    client_rack: str | None = None
    commit: bool = True
    sweep_seconds: float = Field(3600, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not is_valid_topic(self.prefix):
            raise ValueError("prefix: use letters, digits, '.', '_' and '-' only, as Kafka does")
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if (path := getattr(self, name)) is not None and not path.is_file():
                raise ValueError(f"{name}: the file {path} does not exist")
        needs_password = self.sasl_mechanism != "GSSAPI" and self.security_protocol.startswith(
            "SASL"
        )
        if needs_password and (
            self.sasl_plain_username is None or self.sasl_plain_password is None
        ):
            raise ValueError("sasl_plain_username: SASL needs it and sasl_plain_password; set both")
        return self


class AuthSettings(SettingsGroup):
    """Authentication of clients. `none` is never the default."""

    mode: Literal["jwt", "none", "callback"] = "jwt"
    secret: SecretStr | None = None
    jwks_url: str | None = None
    algorithms: list[str] | None = None
    audience: str | None = None
    issuer: str | None = None
    require_exp: bool = False
    callback_url: str | None = None
    callback_headers: Annotated[list[str], AfterValidator(validators.check_header_names)] = [
        "cookie",
        "authorization",
    ]
    callback_timeout_seconds: float = Field(3, gt=0, le=60)
    callback_secret: SecretStr | None = None
    _check = model_validator(mode="after")(validators.check_auth)


class AdminToken(SettingsGroup):
    """An operator's token. Text alone is a token that may write."""

    token: SecretStr
    role: Literal["read", "write"] = "write"
    name: str = ""

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: object) -> object:
        return {"token": value} if isinstance(value, str | SecretStr) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name and not is_valid_name(self.name):
            raise ValueError("name: use 1 to 200 bytes without control characters")
        return self


class LimitSettings(SettingsGroup):
    """Limits of this instance, and of each connection."""

    connections: int = Field(18_000, ge=0)
    connections_per_account: int = Field(50, ge=1)
    connections_per_address: int = Field(0, ge=0)
    handshakes_per_second: int = Field(500, ge=1)
    http_connections: int = Field(1_000, ge=1)
    rooms: int = Field(200, ge=0)
    topics: int = Field(50, ge=1)
    changes_per_minute: int = Field(300, ge=0)
    frame_bytes: int = Field(65_536, ge=125)
    frames_per_second: int = Field(200, ge=1)
    event_bytes: int = Field(1_048_576, ge=1)
    audience: int = Field(10_000, ge=1)
    batch_bytes: int = Field(67_108_864, ge=1_048_576)
    outbox_bytes: int = Field(1_048_576, ge=1)
    outbox_seconds: float = Field(15, gt=0)
    publishes_per_second: int = Field(1_000, ge=0)
    dead_letters_per_second: int = Field(100, ge=0)


class ReplaySettings(SettingsGroup):
    """Limits of replay and history."""

    journal_bytes: int = Field(268_435_456, ge=0)
    warm_seconds: float = Field(60, ge=0)
    max_records: int = Field(1_000_000, ge=0)
    max_bytes: int = Field(1_073_741_824, ge=0)
    max_age_seconds: float = Field(86_400, ge=0)
    passes: int = Field(2, ge=1)
    wait_seconds: float = Field(30, gt=0)


class _EnvironmentSource(EnvSettingsSource):
    """The environment, then the `.env` file of the working folder."""

    def _load_env_vars(self) -> dict[str, str | None]:
        return {name.lower(): value for name, value in read_environment().items()}

    def decode_complex_value(
        self,
        field_name: str,  # noqa: ARG002 - as inherited
        field: FieldInfo,  # noqa: ARG002
        value: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return json.loads(value, object_pairs_hook=_refuse_repeated_keys)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is set twice")
    return content


#: `{prefix}.` and one of these is a group. `{prefix}.` and the instance's name is another.
_GROUPS_OF_THE_BRIDGE: Final = ("duties", "dead-letters")


class Settings(BaseSettings):
    """All settings of an instance."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    instance: str = ""
    topics: TopicDefinitions = []
    kafka: KafkaSettings = KafkaSettings()
    auth: AuthSettings = AuthSettings()
    allowed_origins: Annotated[list[str], AfterValidator(validators.normalize_origins)] = []
    admin_tokens: Annotated[list[AdminToken], AfterValidator(validators.check_admin_tokens)] = []
    admin_host: str = ""
    admin_port: int | None = Field(None, ge=0, le=65_535)
    heartbeat_seconds: float = Field(25, gt=0, allow_inf_nan=False)
    keepalive_seconds: float = Field(75, gt=0, allow_inf_nan=False)
    drain_seconds: float = Field(10, ge=0, allow_inf_nan=False)
    instance_timeout_seconds: float = Field(20, ge=10, allow_inf_nan=False)
    stale_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    trusted_proxies: Annotated[list[str], AfterValidator(validators.check_networks)] = []
    limits: LimitSettings = LimitSettings()
    replay: ReplaySettings = ReplaySettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    _check_numbers = model_validator(mode="before")(validators.refuse_yes_as_number)

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the environment precedence over the file, which is passed as arguments."""
        return _EnvironmentSource(settings_cls), init_settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_names(self.topics, self.kafka.prefix)
        if self.instance and not (is_valid_name(self.instance) and is_valid_topic(self.instance)):
            raise ValueError("instance: use letters, digits, '.', '_' and '-' only, as Kafka does")
        if (last := self.instance.rpartition(".")[2]) in _GROUPS_OF_THE_BRIDGE:
            raise ValueError(
                f"instance: a name that is {last!r}, or ends with it behind a dot, would name a"
                " consumer group of the bridge's own; choose another name"
            )
        return self

    @property
    def instance_name(self) -> str:
        """`instance`, or host name and port. The consumer group is named after it."""
        return self.instance or f"{socket.gethostname()}-{self.port}"


def _check_names(topics: Sequence[TopicDefinition], prefix: str) -> None:
    """Raise ValueError unless each topic has one name of each kind, and none is reserved."""
    names: set[str] = set()
    kafka_names: set[str] = set()
    for index, topic in enumerate(topics):
        if topic.name in names:
            raise ValueError(f"topics: {topic.name!r} is listed twice; remove one")
        if topic.kafka_name in kafka_names:
            raise RouteError(
                f"Kafka's topic {topic.kafka_name!r} has two names; remove one",
                *("topics", str(index)),
            )
        for name in (topic.name, topic.kafka_name):
            # The state topic says who is where; a dead letter that cannot be read would become
            # one again, for ever.
            if name.startswith(f"{prefix}."):
                raise ValueError(f"topics: {name!r} is reserved for the bridge by kafka.prefix")
            if name.startswith("__"):
                raise ValueError(f"topics: {name!r} is one of Kafka's own; name another topic")
        names.add(topic.name)
        kafka_names.add(topic.kafka_name)


def load_settings(config_path: Path | None = None, **defaults: Any) -> Settings:  # noqa: ANN401
    """Return the settings. `defaults` apply if neither environment nor file sets a value.

    Raises:
        SettingError: If a setting is unknown or invalid, or the file cannot be read.
    """
    _reject_unknown_variables()
    file_values = read_yaml(config_path) if config_path is not None else {}
    try:
        definitions = TypeAdapter(TopicDefinitions).validate_python(file_values.get("topics", []))
    except ValidationError as error:
        raise _setting_error(error, config_path, "topics") from None
    try:
        settings = Settings(**{**defaults, **file_values})
    except ValidationError as error:
        raise _setting_error(error, config_path) from None
    except SettingsError as error:
        name = str(error).split('"')[1] if '"' in str(error) else ""
        example = ', as ["orders", "news"]' if name == "topics" else ""
        raise SettingError(
            f"{ENV_PREFIX}{name.upper()}: not valid JSON, or a key twice in it; write JSON{example}"
        ) from None
    # The variable selects topics of the file by name. Other names get default definitions.
    definitions_by_name = {topic.name: topic for topic in definitions}
    topics = [definitions_by_name.get(topic.name, topic) for topic in settings.topics]
    try:
        _check_names(topics, settings.kafka.prefix)
    except RouteError as error:
        raise WrongRoute(f"{ENV_PREFIX}TOPICS: {error}") from None
    except ValueError as error:
        raise SettingError(f"{ENV_PREFIX}{str(error).replace('topics: ', 'TOPICS: ')}") from None
    return settings.model_copy(update={"topics": topics})


def differing_settings(before: Settings, after: Settings) -> list[str]:
    """Return the names of the settings that differ, topics excepted, as `limits.rooms`."""
    return _differing_fields(before, after, "", {"topics"})


def _differing_fields(
    before: BaseModel, after: BaseModel, prefix: str, excluded: Collection[str] = ()
) -> list[str]:
    names: list[str] = []
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if name in excluded or old == new:
            continue
        is_group = isinstance(old, SettingsGroup) and isinstance(new, SettingsGroup)
        names += _differing_fields(old, new, f"{prefix}{name}.") if is_group else [prefix + name]
    return names


def _reject_unknown_variables() -> None:
    known = _variable_names(Settings)
    for name in read_environment():
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in {*known, LISTEN_TOKEN}:
            question = nearest(name.upper(), known)
            raise SettingError(f"{name}: unknown setting;{question} docs/operations.md lists all")


def _variable_names(model: type[BaseModel], env_prefix: str = ENV_PREFIX) -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [name]
        names += [env_prefix + str(choice).upper() for choice in choices]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _variable_names(field.annotation, f"{env_prefix}{name.upper()}__")
    return names


def _setting_error(
    error: ValidationError, config_path: Path | None, *parent_keys: str
) -> SettingError:
    """Return the first error: one line that begins with the name of the setting."""
    first_error = error.errors(include_url=False)[0]
    cause = first_error.get("ctx", {}).get("error")
    keys = [*parent_keys, *(str(part) for part in first_error["loc"])]
    if isinstance(cause, RouteError):
        message = " ".join(str(cause).split())
        printable = message if message.isprintable() else ascii(message)
        return WrongRoute(_located(config_path, [*keys, *cause.keys], parent_keys) + printable)
    return SettingError(_error_message(error, config_path, *parent_keys))


def _located(config_path: Path | None, keys: list[str], parent_keys: Sequence[str]) -> str:
    """Return the place of a setting, as an error begins: file, name and line, or the variable."""
    top = ENV_PREFIX + keys[0].upper()
    is_from_file = bool(parent_keys) or not any(
        name.upper().startswith(top) for name in read_environment()
    )
    if config_path is None or not is_from_file:
        return f"{ENV_PREFIX}{'__'.join(keys).upper()}: "
    line = find_line(config_path, keys)
    name = ".".join(keys)
    printable = name if name.isprintable() else ascii(name)
    return f"{config_path}: {printable}: " + ("" if line is None else f"line {line}: ")


def _error_message(error: ValidationError, config_path: Path | None, *parent_keys: str) -> str:
    """Return the first error in one line that begins with the name of the setting."""
    first_error = error.errors(include_url=False)[0]
    keys = [*parent_keys, *(str(part) for part in first_error["loc"])]
    message = str(first_error["msg"]).removeprefix("Value error, ")
    setting, _, problem = message.partition(": ")
    if first_error["type"] == "value_error" and setting.isidentifier():
        keys, message = [*keys, setting], problem  # a check of several settings names one
    variable_name = ENV_PREFIX + "__".join(keys).upper()
    place = _located(config_path, keys, parent_keys)
    if first_error["type"] == "extra_forbidden":
        return f"{place}unknown setting;{_nearest_key(keys)} docs/operations.md lists all"
    is_secret = first_error["type"] == "model_type" or any(
        word in variable_name.lower() for word in _SECRET_WORDS
    )
    if first_error["type"] in _TEXT_ERRORS and isinstance(
        first_error["input"], bool | int | float | date
    ):
        message = "must be text; YAML reads an unquoted no, on, 7 or date as another kind: quote it"
    is_scalar = isinstance(first_error["input"], str | int | float | bool)
    given_value = f" (got {first_error['input']!r})" if is_scalar and not is_secret else ""
    return " ".join(f"{place}{message}{given_value}".split())


def _nearest_key(keys: list[str]) -> str:
    """Return a question that names the setting most like the last of `keys`, in its own group."""
    group = keys[0] if len(keys) > 1 else ""
    prefix = f"{ENV_PREFIX}{group.upper()}__" if group else ENV_PREFIX
    names = {
        name.removeprefix(prefix).lower()
        for name in _variable_names(Settings)
        if name.startswith(prefix)
    }
    if group == "topics":
        names = set(TopicDefinition.model_fields)
    return nearest(keys[-1], sorted(names))
