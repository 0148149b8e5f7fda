"""`push-bridge dev`: everything in one process, nothing to install or configure."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr

from bridge.cli.output import (
    ConfigOption,
    address,
    err,
    log_to_stderr,
    out,
    refuse,
    run,
    settings_or_exit,
)

if TYPE_CHECKING:
    import socket

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import Access

_HELLO = '{"hello": "world"}'
_DEMO_SECONDS = 1.0
# The embedded broker answers a fetch at the end of its wait, not when a record comes.
_FETCH_WAIT_MS = 10

DemoOption = Annotated[bool, typer.Option("--demo", help="Produce sample events too.")]


def dev(config: ConfigOption = None, demo: DemoOption = False) -> None:
    """Try it: a bridge on an embedded development broker, without authentication."""
    settings = settings_or_exit(config, topics=["demo"], auth={"mode": "none"})
    token = secrets.token_urlsafe(32)
    settings = settings.model_copy(
        update={
            "auth": settings.auth.model_copy(update={"mode": "none"}),
            "admin_tokens": [*settings.admin_tokens, SecretStr(token)],
        }
    )
    if not settings.topics:
        refuse('BRIDGE_TOPICS: name a topic, as ["demo"], or leave it out', code=2)
    log_to_stderr("warning" if settings.log_level == "info" else settings.log_level)
    from bridge.app.instance import access
    from bridge.cli.runner import listener
    from bridge.kafka.client.embedded import EmbeddedBroker

    listening = listener(settings.host, settings.port)
    try:
        broker = EmbeddedBroker([topic.kafka_name for topic in settings.topics])
    except RuntimeError as error:
        refuse(str(error))
    here = {"bootstrap_servers": broker.bootstrap_servers, "security_protocol": "PLAINTEXT"}
    kafka = settings.kafka.model_copy(update=here)
    reach = access(kafka, may_create_topics=True, fetch_wait_ms=_FETCH_WAIT_MS)
    run(_main(settings, reach, listening, token, demo=demo))


async def _main(
    settings: Settings, reach: Access, listening: socket.socket, token: str, *, demo: bool
) -> None:
    """Run everything. `token` lets the page send, and goes to no other machine by itself."""
    from bridge.cli.runner import admin_listener, run_instance
    from bridge.kafka.client.embedded import EmbeddedCluster

    tasks: list[asyncio.Task[None]] = []

    host, port, *_ = listening.getsockname()
    only_here = host in {"127.0.0.1", "::1"}
    admin = admin_listener(settings)
    page_port = port if admin is None else admin.getsockname()[1]

    def started() -> None:
        _introduce(settings, reach.bootstrap_servers, port, page_port, None if only_here else token)
        if demo:
            tasks.append(asyncio.create_task(_produce(reach, settings.topics[0].kafka_name)))

    try:
        await run_instance(
            settings,
            reach,
            listening,
            started,
            cluster=EmbeddedCluster,
            loopback_only=only_here,
            admin=admin,
            page_token=token if only_here else None,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _introduce(
    settings: Settings, servers: str, port: int, page_port: int, token: str | None
) -> None:
    url = address(settings.host, port)
    page = "open it in a browser"
    if page_port != port:
        page = f"the page is at {address(settings.host, page_port)}"
    where = "bound to this machine" if token is None else f"the page sends with the token {token}"
    topic = settings.topics[0].name
    at = "" if port == 8080 else f" {url}"  # noqa: PLR2004 - where `listen` looks by itself
    lines = [
        ("kafka", servers, "an embedded broker, for development only"),
        ("bridge", url, f"{page}; authentication is off; {where}"),
        ("listen", f"push-bridge listen{at} --account alice", "in a second terminal"),
        (
            "publish",
            f"push-bridge publish --kafka {servers} --topic {topic} --account alice '{_HELLO}'",
            "in a third",
        ),
    ]
    for word, what, remark in lines:
        out.print(f"[bold]{word:<8}[/] {what}  [dim]# {remark}[/]")
    out.file.flush()


async def _produce(reach: Access, topic: str) -> None:
    """Write sample events, one a second, until cancelled."""
    from bridge.kafka.client.client import OUT_OF_REACH
    from bridge.kafka.producer import Producer

    audiences: list[dict[str, Any]] = [{"accounts": ["alice"]}, {"rooms": ["lobby"]}, {"all": True}]
    producer = Producer(reach)
    try:
        await producer.start()
        for number, audience in enumerate(itertools.cycle(audiences)):
            sample = {"type": "demo.tick", **audience, "data": {"number": number}}
            await producer.write(topic, json.dumps(sample).encode())
            await asyncio.sleep(_DEMO_SECONDS)
    except OUT_OF_REACH as error:
        err.print(f"the demo ends: {error}", markup=False)
    finally:
        await producer.stop()
