"""Fetches one small document from a URL or a file, in a thread.

Rule: a response is bounded in bytes and in time. Redirects are not followed, because the operator
did not configure their target.
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
    """Return an `https:` or `http:` URL as it is, and a `file:` URL or a path as a `Path`.

    Raises:
        ValueError: If it is none of these.
    """
    parts = urlsplit(location)
    if parts.scheme in {"http", "https"}:
        if not parts.hostname or parts.port == 0 or location.split() != [location]:
            raise ValueError("the URL has no valid host; use one like https://id.example/jwks.json")
        if "@" in parts.netloc:
            raise ValueError("the keys are public: remove user and password from the URL")
        return location
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    if "://" in location:
        raise ValueError(f"{parts.scheme}: is not supported; use http, https or file")
    return Path(location)


def redact_location(location: str | Path) -> str:
    """Return `location` for logs, without the query: it may contain secrets."""
    if isinstance(location, Path):
        return str(location)
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


async def download(location: str | Path) -> bytes:
    """Return the content of `location`.

    Raises:
        OSError: If it cannot be read within `TIMEOUT_SECONDS`, or is larger than `MAX_BYTES`.

    Cancellation: safe; the thread may run for some seconds more, and its result is dropped.
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
    # `parse_location` checked the scheme.
    http_request = request.Request(url, headers=headers)  # noqa: S310
    deadline = monotonic() + TIMEOUT_SECONDS
    data = b""
    try:
        with opener.open(http_request, timeout=TIMEOUT_SECONDS) as response:
            while len(data) <= MAX_BYTES and (chunk := response.read1(_CHUNK_BYTES)):
                data += chunk
                if monotonic() > deadline:
                    raise TimeoutError(f"the response took longer than {TIMEOUT_SECONDS:.0f} s")
            if len(data) <= MAX_BYTES and response.length:
                raise ConnectionError("the response ended early")
    except (HTTPException, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    return _check_size(data)


def _check_size(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return data
