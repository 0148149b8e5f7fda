"""`push-bridge bench`: measures bridges under load; `bridge/bench` does the work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    check_servers,
    err,
    exit_with_error,
    load_settings_or_exit,
    local_url,
    out,
)
from bridge.core.protocol.names import is_valid_name
from bridge.core.protocol.topic_catalogue import TopicCatalogue

if TYPE_CHECKING:
    from bridge.bench.load.job import Target
    from bridge.bench.plan import Plan
    from bridge.config.settings import KafkaSettings, Settings

Scenario = Literal["fanout", "accounts", "filter", "idle", "storm", "slow", "hostile", "ceiling"]
_MissedOption = Annotated[
    int, typer.Option(min=1, help="storm: records written while disconnected.")
]
_MIN_RATE = 1e-3


def bench(
    scenario: Annotated[Scenario, typer.Argument(help="The scenario.")],
    url: Annotated[list[str] | None, typer.Option(help="A bridge's URL; repeatable.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(help="Its /metrics, if on another port; repeatable.")
    ] = None,
    kafka: Annotated[str | None, typer.Option(help="Brokers; default: from the settings.")] = None,
    topic: Annotated[str | None, typer.Option(help="Default: the first of the settings.")] = None,
    connections: Annotated[int | None, typer.Option(min=1, max=1_000_000)] = None,
    rate: Annotated[float | None, typer.Option(min=_MIN_RATE, help="Records per second.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Duration of the measurement.")
    ] = None,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds of load before it.")] = 1.0,
    bytes: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Size of a record's value.")
    ] = 205,
    account: Annotated[str, typer.Option(help="Prefix of account names.")] = "bench-",
    token: Annotated[
        str | None, typer.Option(help="One token for all clients, if authentication is on.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    sources: Annotated[
        int, typer.Option(min=1, max=250, help="Addresses 127.0.0.x to connect from.")
    ] = 1,
    missed: _MissedOption = 10_000,
    slow: Annotated[int, typer.Option(min=1, help="slow: clients that stop reading.")] = 5,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put load on bridges; print throughput, latency and delivery errors."""
    settings = load_settings_or_exit(config)
    if not is_valid_name(f"{account}nobody-1"):
        exit_with_error(f"--account: not a valid start of a name: {account!a}", code=2)
    from bridge.bench.plan import Plan
    from bridge.bench.runner import SCENARIO_DEFAULTS

    defaults = SCENARIO_DEFAULTS[scenario]
    urls = url or [local_url(settings.host, settings.port)]
    public_topic = _public_topic(settings, scenario, topic)
    plan = Plan(
        scenario=scenario,
        targets=tuple(map(_target, urls)),
        metrics_urls=tuple(metrics or [f"{_http_base_url(each)}/metrics" for each in urls]),
        kafka_settings=_librdkafka_config(settings.kafka, kafka),
        topic=public_topic,
        kafka_topic=_kafka_name(settings, public_topic),
        connections=defaults[0] if connections is None else connections,
        rate=defaults[1] if rate is None else rate,
        seconds=defaults[2] if seconds is None else seconds,
        record_bytes=bytes,
        account_prefix=account,
        token=token,
        processes=processes,
        source_address_count=sources,
        missed_records=missed,
        slow_clients=slow,
        warmup_seconds=warmup,
    )
    _run(plan, as_json)


def _run(plan: Plan, as_json: bool) -> None:
    """Measure and print; exit with 1 if an event was lost, duplicated or out of order."""
    from bridge.bench.load.job import BenchError
    from bridge.bench.report import format_result, has_delivery_errors
    from bridge.bench.runner import measure

    try:
        result = measure(plan, lambda line: err.print(line, style="dim", markup=False))
    except BenchError as error:
        exit_with_error(str(error), code=error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        out.print(json.dumps(result), markup=False)
    else:
        for line in format_result(result):
            out.print(line, markup=False)
    if has_delivery_errors(result["figures"]):
        raise typer.Exit(1)


def _public_topic(settings: Settings, scenario: Scenario, topic: str | None) -> str:
    if topic is None and settings.topics:
        return settings.topics[0].name
    if topic is None and scenario not in {"hostile", "ceiling"}:
        exit_with_error("--topic: name one that the bridge reads (or BRIDGE_TOPICS)", code=2)
    return topic or "bench"


def _http_base_url(url: str) -> str:
    """Return `url` as `http://`, without a slash at its end; exit with 2 for a TLS scheme."""
    scheme, _, rest = url.rstrip("/").rpartition("://")
    if scheme not in {"", "http", "ws"}:
        exit_with_error(
            f"--url: bench does not support TLS; use the bridge's own address: {url!a}", code=2
        )
    return f"http://{rest}"


def _target(url: str) -> Target:
    from bridge.bench.load.job import Target

    try:
        parts = urlsplit(_http_base_url(url))
        host, port = parts.hostname, parts.port
    except ValueError:  # an impossible port, or half an IPv6 address
        host = port = None
    if host is None or port == 0:
        exit_with_error(
            f"not the address of a bridge: {url!a}; example: http://127.0.0.1:8080", code=2
        )
    return Target("127.0.0.1" if host == "localhost" else host, port or 80, parts.path)


def _kafka_name(settings: Settings, public_topic: str) -> str:
    catalogue = TopicCatalogue.from_entries(settings.topics)
    return catalogue.kafka_names.get(public_topic, public_topic)


def _librdkafka_config(kafka: KafkaSettings, brokers: str | None) -> dict[str, Any]:
    """Return the settings under librdkafka's names; exit with 2 if `brokers` are malformed."""
    check_servers(brokers)
    password = kafka.sasl_plain_password
    key_password = kafka.ssl_password
    options = {
        "bootstrap.servers": brokers or kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "ssl.ca.location": kafka.ssl_cafile,
        "ssl.certificate.location": kafka.ssl_certfile,
        "ssl.key.location": kafka.ssl_keyfile,
        "ssl.key.password": None if key_password is None else key_password.get_secret_value(),
    }
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.kerberos.service.name": kafka.sasl_kerberos_service_name,
            "sasl.username": kafka.sasl_plain_username,
            "sasl.password": None if password is None else password.get_secret_value(),
        }
    return {name: str(value) for name, value in options.items() if value is not None}
