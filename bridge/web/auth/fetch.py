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

TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 16


def parse_location(location: str) -> str | Path:
    """Return the URL or the file that `location` names: `https:`, `http:`, `file:` or a path.

    Raises:
        ValueError: If it is none of them.
    """
    parts = urlsplit(location)
    if parts.scheme in {"http", "https"}:
        if not parts.hostname or parts.port == 0 or location.split() != [location]:
            raise ValueError("an address has a host, as in https://id.example/jwks.json")
        if "@" in parts.netloc:
            raise ValueError("what is fetched is public: leave user and password out")
        return location
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    if "://" in location:
        raise ValueError(f"{parts.scheme}: is not among http, https and file")
    return Path(location)


def redact_location(location: str | Path) -> str:
    """Return `location` for a log: without what a URL's query may hold of secrets."""
    if isinstance(location, Path):
        return str(location)
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


async def download(location: str | Path) -> bytes:
    """Return what is there.

    Raises:
        OSError: If it can not be had within some seconds, or is too large.

    Cancellation: safe; a thread may go on for some seconds and its answer is thrown away.
    """
    if isinstance(location, Path):
        return await asyncio.to_thread(_read_file, location)
    return await asyncio.to_thread(_fetch_url, location)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _check_size(file.read(MAX_BYTES + 1))


def _fetch_url(url: str) -> bytes:
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPErrorProcessor,
        request.HTTPDefaultErrorHandler,
    ):
        opener.add_handler(handler())
    headers = {"Accept": "application/json", "User-Agent": "push-bridge"}
    http_request = request.Request(url, headers=headers)  # noqa: S310 - `parse_location` has seen to the scheme
    deadline = monotonic() + TIMEOUT_SECONDS
    data = b""
    try:
        with opener.open(http_request, timeout=TIMEOUT_SECONDS) as response:
            while len(data) <= MAX_BYTES and (chunk := response.read1(_CHUNK_BYTES)):
                data += chunk
                if monotonic() > deadline:
                    raise TimeoutError(f"no end within {TIMEOUT_SECONDS:.0f} s")
            if len(data) <= MAX_BYTES and response.length:
                raise ConnectionError("the answer ended early")
    except (HTTPException, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    return _check_size(data)


def _check_size(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return data
