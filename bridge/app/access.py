"""How an instance reaches Kafka and recognises clients, from its settings.

Rule: settings become plain values here; nothing connects yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from aiokafka.helpers import create_ssl_context

from bridge.kafka.client.client import KafkaAccess
from bridge.web.api.access import Operator
from bridge.web.auth.callback.authenticator import CallbackAuthenticator
from bridge.web.auth.callback.client import CallbackClient
from bridge.web.auth.callback.extension import ExtendingAuthenticator
from bridge.web.auth.http_client import is_loopback_host
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy
from bridge.web.auth.tokens.claims import ClaimRules
from bridge.web.auth.tokens.jwt import build_allow_all, build_jwt_authenticator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.settings import AuthSettings, KafkaSettings, Settings
    from bridge.web.auth.authenticator import Authenticator
    from bridge.web.auth.tokens.jwks import JwksCache


_NO_TOPICS: Final[Mapping[str, bool]] = {}
_log = logging.getLogger(__name__)


def build_kafka_access(kafka: KafkaSettings, **overrides: Any) -> KafkaAccess:  # noqa: ANN401 - `KafkaAccess`'s own fields
    """Return how to reach Kafka; `overrides` replace fields of `KafkaAccess`."""
    options: dict[str, Any] = {
        "client_id": "push-bridge",
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_plain_username,
        "sasl_kerberos_service_name": kafka.sasl_kerberos_service_name,
        "sasl_kerberos_domain_name": kafka.sasl_kerberos_domain_name,
    }
    if kafka.sasl_plain_password is not None:
        options["sasl_plain_password"] = kafka.sasl_plain_password.get_secret_value()
    if kafka.security_protocol.endswith("SSL"):
        password = kafka.ssl_password
        options["ssl_context"] = create_ssl_context(
            cafile=kafka.ssl_cafile,
            certfile=kafka.ssl_certfile,
            keyfile=kafka.ssl_keyfile,
            password=None if password is None else password.get_secret_value(),
        )
    fetch_options = {"fetch_wait_ms": kafka.fetch_max_wait_ms, "rack": kafka.client_rack or ""}
    return KafkaAccess(kafka.bootstrap_servers, options, **{**fetch_options, **overrides})


def build_origin_policy(
    settings: Settings, *, loopback_only: bool, loopback_pages: bool = False
) -> OriginPolicy:
    """Return the allowed origins and hosts; warn of origins that let in any page.

    Without authentication, an instance on loopback answers only to names of loopback: a page of
    another site could reach it by DNS rebinding. With `loopback_pages`, all pages that this machine
    serves may connect.
    """
    for origin in {"*", "null"} & set(settings.allowed_origins):
        _log.warning(
            "BRIDGE_ALLOWED_ORIGINS has %r: %s; list the origins of your pages instead",
            origin,
            "pages of every site may connect"
            if origin == "*"
            else "sandboxed frames and local files of anybody may connect",
        )
    is_open = settings.auth.mode == "none" and is_loopback_host(settings.host)
    hosts = LOOPBACK_HOSTS if loopback_only or is_open else None
    uses_cookies = settings.auth.mode == "callback"
    return OriginPolicy(settings.allowed_origins, hosts, uses_cookies, loopback_pages)


def build_operators(settings: Settings) -> list[Operator]:
    """Return the owners of the admin tokens. One without a name is called by its number."""
    return [
        Operator(
            item.token.get_secret_value(), item.name or f"token-{number}", item.role == "write"
        )
        for number, item in enumerate(settings.admin_tokens, 1)
    ]


def _build_callback(auth: AuthSettings) -> CallbackClient:
    secret = auth.callback_secret
    return CallbackClient(
        auth.callback_url or "",
        timeout_seconds=auth.callback_timeout_seconds,
        secret=None if secret is None else secret.get_secret_value(),
    )


def build_authenticator(
    auth: AuthSettings, *, loopback_only: bool, is_private: Mapping[str, bool] = _NO_TOPICS
) -> tuple[Authenticator, JwksCache | None]:
    """Return the authenticator, and the JWKS cache that it needs kept up to date, if any."""
    if auth.mode == "none":
        return build_allow_all(loopback_only=loopback_only), None
    if auth.mode == "callback" and auth.callback_url is not None:
        return CallbackAuthenticator(_build_callback(auth), auth.callback_headers), None
    tokens, jwks = build_jwt_authenticator(
        secret=None if auth.secret is None else auth.secret.get_secret_value(),
        jwks_url=auth.jwks_url,
        algorithms=auth.algorithms,
        rules=ClaimRules(
            auth.audience, auth.issuer, auth.require_exp, auth.callback_url is not None
        ),
    )
    if auth.callback_url is None:
        return tokens, jwks
    return ExtendingAuthenticator(tokens, _build_callback(auth), is_private), jwks
