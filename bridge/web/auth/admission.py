"""The gate that the operator has asked for, and what is to be said about it.

Rule: what is weak is allowed where it was said, and is said again in the log.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from jwt.warnings import InsecureKeyLengthWarning

from bridge.web.auth.algorithms import SECRET_BYTES, pinned
from bridge.web.auth.authenticator import OpenGate
from bridge.web.auth.jwks import Jwks
from bridge.web.auth.jwt import Secret, TokenGate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.web.auth.authenticator import Gate

_log = logging.getLogger(__name__)


def open_gate(*, loopback_only: bool = False) -> OpenGate:
    """Return the gate that lets in everybody; that is nothing to warn of where nobody can come."""
    if not loopback_only:
        _log.warning(
            "authentication is off (BRIDGE_AUTH__MODE=none): every client is who it says it is,"
            " and may read every topic and room"
        )
    return OpenGate()


def token_gate(
    *,
    secret: str | None,
    jwks_url: str | None,
    algorithms: Sequence[str] | None,
    audience: str | None,
    issuer: str | None,
) -> tuple[Gate, Jwks | None]:
    """Return the gate that asks for tokens, and the keys that have to be kept up to date, if any.

    Raises:
        ValueError: If there is nothing to check tokens with, or it does not fit.
    """
    names = pinned(algorithms, by_secret=secret is not None, by_url=jwks_url is not None)
    if jwks_url is not None:
        jwks = Jwks(jwks_url)
        return TokenGate(jwks, names, audience=audience, issuer=issuer), jwks
    if secret is None:
        raise ValueError("there is neither a secret nor a JWKS URL to check tokens with")
    shared = Secret(secret)
    if shared.size < SECRET_BYTES:
        _log.warning(
            "BRIDGE_AUTH__SECRET has %d bytes; fewer than %d can be guessed from one token",
            shared.size,
            SECRET_BYTES,
        )
    # PyJWT would say so for each token.
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    return TokenGate(shared, names, audience=audience, issuer=issuer), None
