"""`push-bridge serve`: the real thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.cli.output import (
    ConfigOption,
    address,
    err,
    log_to_stderr,
    refuse,
    run,
    settings_or_exit,
)

if TYPE_CHECKING:
    from bridge.config.settings import Settings


def serve(config: ConfigOption = None) -> None:
    """Serve clients from Kafka, until a signal; SIGTERM drains first."""
    settings = settings_or_exit(config)
    if not settings.topics:
        refuse('BRIDGE_TOPICS: name the topics to serve, as ["orders", "news"]', code=2)
    check_auth(settings)
    log_to_stderr(settings.log_level)
    from bridge.app.instance import access
    from bridge.cli.runner import admin_listener, listener, run_instance

    listening = listener(settings.host, settings.port)
    admin = admin_listener(settings)
    port = listening.getsockname()[1]
    names = ", ".join(topic.name for topic in settings.topics)
    url = address(settings.host, port)
    err.print(f"push-bridge {settings.instance_name}: {url}", markup=False)
    if admin is not None:
        err.print(f"operators: {address(settings.host, admin.getsockname()[1])}", markup=False)

    def started() -> None:
        err.print(f"ready: serving {names}", markup=False)

    run(run_instance(settings, access(settings.kafka), listening, started, admin=admin))


def check_auth(settings: Settings) -> None:
    """Exit with 2 where nobody said how clients are to be known."""
    auth = settings.auth
    if auth.mode == "jwt" and auth.secret is None and auth.jwks_url is None:
        refuse(
            "BRIDGE_AUTH__SECRET: set it, or BRIDGE_AUTH__JWKS_URL, to check tokens with;"
            " or BRIDGE_AUTH__MODE=none to serve everybody",
            code=2,
        )
