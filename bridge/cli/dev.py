"""`push-bridge dev`: a broker and a bridge in one process, without configuration."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from pydantic import SecretStr, ValidationError

from bridge.cli.log_output import begin_log, log_to_stderr
from bridge.cli.output import (
    ConfigOption,
    exit_with_error,
    http_url,
    load_settings_or_exit,
    out,
    print_notice,
    run,
)
from bridge.cli.serve import ignore_hangup
from bridge.config.settings import AdminToken, SettingError, load_settings
from bridge.config.topics import TopicDefinition

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess
    from bridge.kafka.client.embedded import EmbeddedBroker

_DEFAULTS: Final[dict[str, Any]] = {"topics": ["demo"], "auth": {"mode": "none"}}
_NO_TOPICS: Final = 'BRIDGE_TOPICS: name a topic, as ["demo"], or leave it out'
_PROGRAM: Final = "push-bridge"
_SAMPLE_DATA = '{"hello": "world"}'
_DEMO_INTERVAL_SECONDS = 1.0
# The embedded broker responds at the end of a fetch's wait, not when a record arrives.
_FETCH_WAIT_MS = 10

DemoOption = Annotated[bool, typer.Option("--demo", help="Produce sample events too.")]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65_535, help="The bridge's port; default: BRIDGE_PORT."),
]
KafkaPortOption = Annotated[
    int | None,
    typer.Option("--kafka-port", min=0, max=65_535, help="The broker's port; default: a free one."),
]
TopicOption = Annotated[
    list[str] | None,
    typer.Option("--topic", help="A topic; repeatable. Default: BRIDGE_TOPICS, or demo."),
]


def dev(
    config: ConfigOption = None,
    demo: DemoOption = False,
    port: PortOption = None,
    kafka_port: KafkaPortOption = None,
    topic: TopicOption = None,
) -> None:
    """Try it: a bridge with an embedded development broker, without authentication."""
    ignore_hangup()
    begin_log(config)
    token = secrets.token_urlsafe(32)
    options = DevOptions(port, kafka_port, topic)
    settings = _adapt(load_settings_or_exit(config, **_DEFAULTS), token, options)
    if not settings.topics:
        exit_with_error(_NO_TOPICS, code=2)
    log_to_stderr(
        "warning" if settings.log_level == "info" else settings.log_level,
        settings.log_format,
        settings.instance_name,
    )
    from bridge.app.access import build_kafka_access
    from bridge.cli.runner import open_listener

    listener_socket = open_listener(
        settings.host, settings.port, "--port, BRIDGE_HOST, BRIDGE_PORT"
    )
    kafka_socket = None
    if kafka_port is not None:
        kafka_socket = open_listener("127.0.0.1", kafka_port, "--kafka-port")
    broker = _start_broker([topic.kafka_name for topic in settings.topics])
    overrides = {"bootstrap_servers": broker.bootstrap_servers, "security_protocol": "PLAINTEXT"}
    kafka_settings = settings.kafka.model_copy(update=overrides)
    kafka_access = build_kafka_access(
        kafka_settings,
        may_create_topics=True,
        fetch_wait_ms=_FETCH_WAIT_MS,
        max_batch_bytes=settings.limits.batch_bytes,
    )

    def load_again() -> Settings:
        reloaded = _adapt(load_settings(config, **_DEFAULTS), token, options)
        if not reloaded.topics:
            raise SettingError(_NO_TOPICS)
        return reloaded

    run(
        _run_bridge(
            settings, kafka_access, (listener_socket, kafka_socket), token, load_again, demo=demo
        )
    )


def _start_broker(topics: list[str]) -> EmbeddedBroker:
    from bridge.kafka.client.embedded import EmbeddedBroker

    try:
        return EmbeddedBroker(topics)
    except RuntimeError as error:
        exit_with_error(str(error))


class DevOptions(NamedTuple):
    """What the command line says instead of the settings."""

    port: int | None
    kafka_port: int | None
    topics: list[str] | None


def _adapt(settings: Settings, token: str, options: DevOptions) -> Settings:
    """Return `settings` with `options`, without authentication, and with this run's admin token."""
    if options.port is not None:
        settings = settings.model_copy(update={"port": options.port})
    if options.topics:
        known = {topic.name: topic for topic in settings.topics}
        try:
            chosen = [
                known.get(name) or TopicDefinition(name=name)
                for name in dict.fromkeys(options.topics)
            ]
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            exit_with_error(f"--topic: {message}", code=2)
        settings = settings.model_copy(update={"topics": chosen})
    own_token = AdminToken(token=SecretStr(token), name="dev")
    return settings.model_copy(
        update={
            "auth": settings.auth.model_copy(update={"mode": "none"}),
            "drain_seconds": 0.0,  # there is no other instance to spread the clients over
            "admin_tokens": [*settings.admin_tokens, own_token],
        }
    )


async def _run_bridge(
    settings: Settings,
    kafka_access: KafkaAccess,
    sockets: tuple[socket.socket, socket.socket | None],
    token: str,
    load_again: Callable[[], Settings],
    *,
    demo: bool,
) -> None:
    """Run until a signal. The page gets `token` automatically only on a loopback address.

    `sockets` are those of the bridge and, if its port was chosen, of the broker.
    """
    from bridge.cli.runner import open_admin_listener, run_instance
    from bridge.kafka.client.embedded import EmbeddedKafkaClient, serve_bootstrap

    listener_socket, kafka_socket = sockets
    bootstrap_servers = kafka_access.bootstrap_servers
    bootstrap_server = None
    if kafka_socket is not None:
        bootstrap_server = await serve_bootstrap(kafka_socket, bootstrap_servers)
        bootstrap_servers = f"127.0.0.1:{kafka_socket.getsockname()[1]}"
    tasks: list[asyncio.Task[None]] = []

    host, port, *_ = listener_socket.getsockname()
    is_loopback = host in {"127.0.0.1", "::1"}
    admin_socket = open_admin_listener(settings)
    page_port = port if admin_socket is None else admin_socket.getsockname()[1]

    def on_ready() -> None:
        shown_token = None if is_loopback else token
        _print_instructions(settings, bootstrap_servers, port, page_port, shown_token)
        if demo:
            events = _produce_sample_events(kafka_access, settings.topics[0].kafka_name)
            tasks.append(asyncio.create_task(events))

    try:
        await run_instance(
            settings,
            kafka_access,
            listener_socket,
            on_ready,
            client_factory=EmbeddedKafkaClient,
            loopback_only=is_loopback,
            loopback_pages=True,
            admin=admin_socket,
            page_token=token if is_loopback else None,
            load_settings=load_again,
        )
    finally:
        if bootstrap_server is not None:
            bootstrap_server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _print_instructions(
    settings: Settings, bootstrap_servers: str, port: int, page_port: int, token: str | None
) -> None:
    url = http_url(settings.host, port)
    page_hint = "open it in a browser"
    if page_port != port:
        page_hint = f"the page is at {http_url(settings.admin_host or settings.host, page_port)}"
    access_hint = (
        "bound to this machine" if token is None else f"the page sends with the token {token}"
    )
    topic = settings.topics[0].name
    url_argument = "" if port == 8080 else f" {url}"  # noqa: PLR2004 - default of listen
    program = own_program()
    publish = (
        f"{program} publish --kafka {bootstrap_servers} --topic {topic} --account alice"
        f" '{_SAMPLE_DATA}'"
    )
    lines = [
        ("kafka", bootstrap_servers, "an embedded broker, for development only"),
        ("bridge", url, f"{page_hint}; authentication is off; {access_hint}"),
        ("listen", f"{program} listen{url_argument} --account alice", "in a second terminal"),
        ("publish", publish, "in a third"),
    ]
    for label, value, remark in lines:
        out.print(f"[bold]{label:<8}[/] {value}  [dim]# {remark}[/]")
    out.file.flush()


def own_program() -> str:
    """Return what a shell in another folder finds this command by."""
    invoked = sys.argv[0]
    if Path(invoked).stem != _PROGRAM:  # `python -m bridge`
        return f"{shlex.quote(sys.executable)} -m bridge"
    on_path = shutil.which(_PROGRAM)
    if on_path is not None and Path(on_path).resolve() == Path(invoked).resolve():
        return _PROGRAM
    return shlex.quote(str(Path(invoked).absolute()))


async def _produce_sample_events(kafka_access: KafkaAccess, topic: str) -> None:
    """Write sample events, one a second, until cancelled."""
    from bridge.kafka.client.client import REQUEST_ERRORS
    from bridge.kafka.producer import KafkaProducer

    audiences: list[dict[str, Any]] = [{"accounts": ["alice"]}, {"rooms": ["lobby"]}, {"all": True}]
    producer = KafkaProducer(kafka_access)
    try:
        await producer.start()
        for number, audience in enumerate(itertools.cycle(audiences)):
            event = {"type": "demo.tick", **audience, "data": {"number": number}}
            await producer.send(topic, json.dumps(event).encode())
            await asyncio.sleep(_DEMO_INTERVAL_SECONDS)
    except REQUEST_ERRORS as error:
        print_notice(f"the demo ends: {error}")
    finally:
        await producer.stop()
