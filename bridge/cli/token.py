"""`push-bridge token`: signs a token with the settings' secret, to try a bridge or to script one.

Rule: it prints the token alone. Who has the secret may be anybody, so this is for operators.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bridge.cli.admin_client import check_names
from bridge.cli.durations import parse_duration
from bridge.cli.output import ConfigOption, exit_with_error, load_settings_or_exit, out

if TYPE_CHECKING:
    from bridge.config.settings import AuthSettings

_MAX_TTL_SECONDS: Final = 100 * 365 * 86_400


def token(
    sub: Annotated[str, typer.Option(help="The account.")],
    room: Annotated[
        list[str] | None, typer.Option(help="A room that it may join, or a pattern; repeatable.")
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            help="A topic that it may read, or a pattern; repeatable. Default: public ones."
        ),
    ] = None,
    ttl: Annotated[
        str, typer.Option(help="How long it is valid: seconds, or 90s, 15m, 1h, 7d.")
    ] = "3600",
    config: ConfigOption = None,
) -> None:
    """Print a token for an account, signed with BRIDGE_AUTH__SECRET."""
    settings = load_settings_or_exit(config)
    check_names(**{"--sub": sub})
    lifetime_seconds = _parse_ttl(ttl)
    secret, algorithm = _signature(settings.auth)
    now = int(time.time())
    claims: dict[str, Any] = {"sub": sub, "iat": now, "exp": now + lifetime_seconds}
    optional = {
        "aud": settings.auth.audience,
        "iss": settings.auth.issuer,
        "rooms": room,
        "topics": topic,
    }
    claims |= {name: value for name, value in optional.items() if value}
    import jwt

    try:
        with warnings.catch_warnings():
            # The settings have checked the secret; a bridge takes it for this algorithm too.
            warnings.simplefilter("ignore")
            text = jwt.encode(claims, secret, algorithm)
    except UnicodeEncodeError:
        exit_with_error("--room and --topic must be UTF-8", code=2)
    out.print(text, markup=False)


def _parse_ttl(ttl: str) -> int:
    try:
        duration = parse_duration(f"{ttl}s" if ttl.isascii() and ttl.isdigit() else ttl)
    except OverflowError:
        duration = None
    seconds = 0 if duration is None else int(duration.total_seconds())
    if not 0 < seconds <= _MAX_TTL_SECONDS:
        exit_with_error(f"--ttl: use seconds, or 90s, 15m, 1h or 7d; not {ttl!a}", code=2)
    return seconds


def _signature(auth: AuthSettings) -> tuple[str, str]:
    """Return the secret and the algorithm; exit with 2 if tokens are signed by another."""
    if auth.jwks_url is not None:
        exit_with_error(
            "BRIDGE_AUTH__JWKS_URL: the issuer of these keys signs the tokens; get one there",
            code=2,
        )
    if auth.mode != "jwt":
        exit_with_error(
            f"BRIDGE_AUTH__MODE: tokens are for jwt, not for {auth.mode}; set it to jwt", code=2
        )
    if auth.secret is None:
        exit_with_error("BRIDGE_AUTH__SECRET: set the secret that signs tokens", code=2)
    return auth.secret.get_secret_value(), (auth.algorithms or ["HS256"])[0]
