# noqa: INP001 - a script, mounted by itself
"""Prints a token for an account: what a backend does after its own login.

    python sign.py ACCOUNT [ROOM]...

Rooms may be patterns, as `order:*`. The secret is BRIDGE_AUTH__SECRET's. Only for trying: your own
backend signs where it knows who is asking, as docs/tokens.md tells.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import jwt

LIFETIME_SECONDS = 3600


def main() -> None:
    """Print the token."""
    if len(sys.argv) == 1:
        sys.exit("usage: sign.py ACCOUNT [ROOM]...")
    account, *rooms = sys.argv[1:]
    now = int(time.time())
    claims: dict[str, Any] = {"sub": account, "iat": now, "exp": now + LIFETIME_SECONDS}
    if rooms:
        claims["rooms"] = rooms
    sys.stdout.write(jwt.encode(claims, os.environ["BRIDGE_AUTH__SECRET"], "HS256") + "\n")


if __name__ == "__main__":
    main()
