"""One small document from a URL or a file, without holding up the event loop.

Rule: an answer is bounded in bytes and in time, and only what was asked is read: redirects are
not followed, for where they lead nobody has decided.
"""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Final
from urllib import request
from urllib.parse import unquote, urlsplit

SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20
_PORTION: Final = 1 << 16


def locate(where: str) -> str | Path:
    """Return the URL or the file that `where` names: `https:`, `http:`, `file:` or a path.

    Raises:
        ValueError: If it is none of them.
    """
    parts = urlsplit(where)
    if parts.scheme in {"http", "https"}:
        if not parts.hostname or parts.port == 0 or where.split() != [where]:
            raise ValueError("an address has a host, as in https://id.example/jwks.json")
        if "@" in parts.netloc:
            raise ValueError("what is fetched is public: leave user and password out")
        return where
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    if "://" in where:
        raise ValueError(f"{parts.scheme}: is not among http, https and file")
    return Path(where)


def shown(where: str | Path) -> str:
    """Return `where` for a log: without what a URL's query may hold of secrets."""
    if isinstance(where, Path):
        return str(where)
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


async def download(where: str | Path) -> bytes:
    """Return what is there.

    Raises:
        OSError: If it can not be had within some seconds, or is too large.

    Cancellation: safe; a thread may go on for some seconds and its answer is thrown away.
    """
    return await asyncio.to_thread(_read if isinstance(where, Path) else _get, where)  # type: ignore[arg-type]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return _checked(file.read(MAX_BYTES + 1))


def _get(url: str) -> bytes:
    opener = request.OpenerDirector()
    for part in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPErrorProcessor,
        request.HTTPDefaultErrorHandler,
    ):
        opener.add_handler(part())
    headers = {"Accept": "application/json", "User-Agent": "push-bridge"}
    asked = request.Request(url, headers=headers)  # noqa: S310 - `locate` has seen to the scheme
    deadline = monotonic() + SECONDS
    data = b""
    try:
        with opener.open(asked, timeout=SECONDS) as answer:
            while len(data) <= MAX_BYTES and (more := answer.read1(_PORTION)):
                data += more
                if monotonic() > deadline:
                    raise TimeoutError(f"no end within {SECONDS:.0f} s")
            if len(data) <= MAX_BYTES and answer.length:
                raise ConnectionError("the answer ended early")
    except (HTTPException, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    return _checked(data)


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return data
