"""Fetches one small document from a URL or a file.

Rule: it is bounded in bytes and in time.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bridge.web.auth.http_client import HttpClient

TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20


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
            raise ValueError("remove user and password from the URL")
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

    Cancellation: safe; the thread that reads a file may run on, and its result is dropped.
    """
    if isinstance(location, Path):
        return await asyncio.to_thread(_read_file, location)
    client = HttpClient(location, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_BYTES)
    response = await client.request("GET", {})
    if response.status != HTTPStatus.OK:
        raise OSError(f"HTTP status {response.status}")
    return response.body


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _check_size(file.read(MAX_BYTES + 1))


def _check_size(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return data
