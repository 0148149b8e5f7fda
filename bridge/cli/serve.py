"""`push-bridge serve`: one instance for production."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from bridge.cli.log_output import begin_log, log_to_stderr
from bridge.cli.output import (
    ConfigOption,
    exit_with_error,
    http_url,
    load_settings_or_exit,
    print_notice,
    run,
)
from bridge.config.settings import SettingError, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.config.settings import Settings


def serve(config: ConfigOption = None) -> None:
    """Serve clients from Kafka until a signal; SIGTERM drains first."""
    ignore_hangup()
    begin_log(config)
    settings = load_settings_or_exit(config)
    require_servable(settings)
    log_to_stderr(settings.log_level, settings.log_format, settings.instance_name)
    from bridge.app.access import build_kafka_access
    from bridge.cli.runner import open_admin_listener, open_listener, run_instance

    listener_socket = open_listener(settings.host, settings.port)
    admin_socket = open_admin_listener(settings)
    port = listener_socket.getsockname()[1]
    topic_names = ", ".join(topic.name for topic in settings.topics)
    url = http_url(settings.host, port)
    print_notice(f"push-bridge {settings.instance_name}: {url}")
    if admin_socket is not None:
        print_notice(f"operators: {http_url(settings.host, admin_socket.getsockname()[1])}")

    def on_ready() -> None:
        print_notice(f"ready: serving {topic_names}")

    run(
        run_instance(
            settings,
            build_kafka_access(settings.kafka, max_batch_bytes=settings.limits.batch_bytes),
            listener_socket,
            on_ready,
            admin=admin_socket,
            load_settings=partial(_load_servable, config),
        )
    )


def ignore_hangup() -> None:
    """Let SIGHUP do nothing until the instance handles it: the settings are just being read."""
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _load_servable(config: Path | None) -> Settings:
    settings = load_settings(config)
    check_servable(settings)
    return settings


def require_servable(settings: Settings) -> None:
    """Exit with 2 if a setting is missing that an instance needs."""
    try:
        check_servable(settings)
    except SettingError as error:
        exit_with_error(str(error), code=2)


def check_servable(settings: Settings) -> None:
    """Check that there are topics, and that a setting says how to authenticate clients.

    Raises:
        SettingError: If one is missing.
    """
    if not settings.topics:
        raise SettingError('BRIDGE_TOPICS: name the topics to serve, as ["orders", "news"]')
    auth = settings.auth
    if auth.mode == "jwt" and auth.secret is None and auth.jwks_url is None:
        raise SettingError(
            "BRIDGE_AUTH__SECRET: set it, or BRIDGE_AUTH__JWKS_URL, to check tokens;"
            " or set BRIDGE_AUTH__MODE=none to serve everybody"
        )
