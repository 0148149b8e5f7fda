"""Parses the head and the body of HTTP/1.1 requests (RFC 9110, RFC 9112).

Rule: all that is not body counts against one limit of bytes and fields. What two readers could
understand in two ways is refused. This module does no I/O.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

#: Of a request's line, fields, chunk extensions and trailers together.
MAX_HEAD_BYTES: Final = 64 * 1024
#: Of a request's head and trailers together.
MAX_FIELDS: Final = 100
_HEAD_END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_match_token: Final = re.compile(_TOKEN).fullmatch
_match_request_line: Final = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN).fullmatch
# What may still become a request: empty lines, then a method.
_match_beginning: Final = re.compile(rb"[\r\n]*(?:%b(?: |\Z)|\Z)" % _TOKEN).match
_find_bare_line_end: Final = re.compile(rb"(?<!\r)\n").search
_find_forbidden_byte: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_match_host: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[^\x00-\x20\x7f/?#@\[\]\\:,]*)(?::[0-9]*)?"
).fullmatch
_match_length: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_match_chunk_line: Final = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*(?:;[^\r\n]*)?)\r\n").match
_ABSOLUTE_SCHEMES: Final = frozenset({"http", "https", "ws", "wss"})
#: A read with more chunks than this is the last one of its turn of the event loop.
CHUNKS_PER_TURN: Final = 256


class BadRequestHead(Exception):
    """A request that is not HTTP/1.1, or beyond a limit; `status` answers it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestHead(NamedTuple):
    """One request before its body. Names of `headers` are in lower case.

    `target` is in origin form. `body_bytes` is None for a chunked body.
    """

    method: str
    target: str
    http_version: str
    headers: list[tuple[bytes, bytes]]
    body_bytes: int | None
    size_bytes: int

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow (RFC 9112, 9.3)."""
        return self.http_version == "1.1" and b"close" not in self.elements(b"connection")

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field, one for each of its lines."""
        return [value for each, value in self.headers if each == name]

    def elements(self, name: bytes) -> list[bytes]:
        """Return the elements of a field that is a list, in lower case (RFC 9110, 5.6.1)."""
        joined = b",".join(self.values(name)).lower()
        return [element for part in joined.split(b",") if (element := part.strip(b" \t"))]


class HeadReader:
    """Collects the bytes of one head."""

    __slots__ = ("_buffer", "_line_ends", "_scanned_bytes")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._line_ends = 0
        self._scanned_bytes = 0

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Return the head that `data` completes, and what follows it.

        Raises:
            BadRequestHead: If it is malformed, or beyond a limit.
        """
        buffer = self._buffer
        buffer += data
        if buffer.startswith((b"\r", b"\n")):  # empty lines before a request (RFC 9112, 2.2)
            while buffer.startswith(b"\r\n"):
                del buffer[:2]
                self._line_ends += 1
            self._scanned_bytes = 0
        end = buffer.find(_HEAD_END, max(0, self._scanned_bytes - len(_HEAD_END) + 1))
        size = end + len(_HEAD_END) if end >= 0 else len(buffer)
        self._line_ends += buffer.count(b"\n", self._scanned_bytes, size)
        if size > MAX_HEAD_BYTES:
            raise BadRequestHead(431, f"more than {MAX_HEAD_BYTES} bytes in the request's head")
        # The request line and the empty line are no fields.
        if self._line_ends > MAX_FIELDS + (2 if end >= 0 else 1):
            raise BadRequestHead(431, f"more than {MAX_FIELDS} fields in the request's head")
        if end < 0:
            if not _match_beginning(buffer) or _find_bare_line_end(buffer, self._scanned_bytes):
                raise BadRequestHead(400, "this is not an HTTP/1.1 request")
            self._scanned_bytes = len(buffer)
            return None
        return parse_head(bytes(buffer[:end])), bytes(buffer[size:])


def parse_head(data: bytes) -> RequestHead:
    """Parse a head without its empty line.

    Raises:
        BadRequestHead: If it is malformed.
    """
    request_line, *lines = data.split(b"\r\n")
    if (match := _match_request_line(request_line)) is None:
        raise BadRequestHead(400, "the first line is not METHOD TARGET HTTP/1.1")
    if match[3] != b"1":
        raise BadRequestHead(505, "only HTTP/1.1 and HTTP/1.0 are served here")
    http_version = "1.0" if match[4] == b"0" else "1.1"
    headers = [_parse_field(line) for line in lines]
    target, headers = _resolve_target(match[1].decode(), match[2].decode(), headers, http_version)
    size = len(data) + len(_HEAD_END)
    head = RequestHead(match[1].decode(), target, http_version, headers, 0, size)
    return head._replace(body_bytes=_body_bytes(head))


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _match_token(name) or _find_forbidden_byte(value):
        raise BadRequestHead(400, "a header field is malformed")
    return name.lower(), value.strip(b" \t")


def _resolve_target(
    method: str, target: str, headers: list[tuple[bytes, bytes]], http_version: str
) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return the target in origin form, and the fields with the host that it names."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version == "1.1"):
        raise BadRequestHead(400, f"the request has {len(hosts)} Host fields: send one")
    if any(not _match_host(host.decode("latin-1")) for host in hosts):
        raise BadRequestHead(400, "the Host field is not a host and a port")
    if target.startswith("/"):
        return target.partition("#")[0], headers
    if target == "*" and method == "OPTIONS":
        return "/", headers
    try:
        url = urlsplit(target)
        is_url = url.scheme in _ABSOLUTE_SCHEMES and url.hostname and _match_host(url.netloc)
    except ValueError:
        is_url = None
    if not is_url:
        raise BadRequestHead(400, "the target is neither a path nor a URL")
    # The target's host replaces the field (RFC 9112, 3.2.2).
    others = [field for field in headers if field[0] != b"host"]
    query = f"?{url.query}" if url.query else ""
    return f"{url.path or '/'}{query}", [(b"host", url.netloc.encode()), *others]


def _body_bytes(head: RequestHead) -> int | None:
    """Return the length of the body, None if it is chunked (RFC 9112, 6.3)."""
    lengths = set(head.values(b"content-length"))
    if codings := head.elements(b"transfer-encoding"):
        if lengths or head.http_version == "1.0":
            raise BadRequestHead(400, "Transfer-Encoding goes with HTTP/1.1, alone")
        if codings != [b"chunked"]:
            raise BadRequestHead(501, "of Transfer-Encoding only chunked is understood")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _match_length(length := lengths.pop()):
        raise BadRequestHead(400, "Content-Length is not one number")
    return int(length)


class BodyReader:
    """Removes the framing of one request's body. Chunk extensions and trailers are discarded."""

    __slots__ = (
        *("_fields_left", "_in_trailers", "_is_chunked", "_left", "_needs_line_end"),
        *("_overhead_left", "_partial", "is_complete"),
    )

    def __init__(self, head: RequestHead) -> None:
        self._partial = b""  # an unfinished line
        self._left = head.body_bytes or 0  # bytes of the body, or of the chunk
        self._is_chunked = head.body_bytes is None
        self._in_trailers = False
        self._needs_line_end = False
        self._overhead_left = MAX_HEAD_BYTES - head.size_bytes
        self._fields_left = MAX_FIELDS - len(head.headers)
        self.is_complete = head.body_bytes == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return pieces of the body, and what follows it.

        Raises:
            BadRequestHead: If the framing is malformed, or beyond the limit of the head.
        """
        if self._in_trailers:
            return [], self._skip_trailers(data)
        if self._is_chunked:
            return self._feed_chunks(data)
        piece = data[: self._left]
        self._left -= len(piece)
        self.is_complete = not self._left
        return [piece], data[len(piece) :]

    def _feed_chunks(self, data: bytes) -> tuple[list[bytes], bytes]:
        data, self._partial = self._partial + data, b""
        pieces: list[bytes] = []
        offset = 0
        while offset < len(data):
            if self._left:
                piece = data[offset : offset + self._left]
                pieces.append(piece)
                offset += len(piece)
                self._left -= len(piece)
                continue
            if self._needs_line_end:
                if len(data) - offset < 2:  # noqa: PLR2004
                    break
                if not data.startswith(b"\r\n", offset):
                    raise BadRequestHead(400, "a chunk is longer than its size says")
                offset += 2
                self._needs_line_end = False
                continue
            match = _match_chunk_line(data, offset)
            if match is None:
                self._check_unfinished_line(data, offset)
                break
            self._count_overhead(len(match[2]))
            offset = match.end()
            self._left = int(match[1], 16)
            self._needs_line_end = bool(self._left)
            if not self._left:
                self._in_trailers = True
                return pieces, self._skip_trailers(data[offset:])
        self._partial = data[offset:]
        return pieces, b""

    def _skip_trailers(self, data: bytes) -> bytes:
        data, self._partial = self._partial + data, b""
        offset = 0
        while (end := data.find(b"\r\n", offset)) >= 0:
            if end == offset:
                self.is_complete = True
                return data[end + 2 :]
            _parse_field(data[offset:end])
            self._fields_left -= 1
            if self._fields_left < 0:
                raise BadRequestHead(431, f"more than {MAX_FIELDS} fields with the trailers")
            self._count_overhead(end + 2 - offset)
            offset = end + 2
        self._partial = data[offset:]
        self._check_overhead(len(self._partial))
        return b""

    def _check_unfinished_line(self, data: bytes, offset: int) -> None:
        if b"\n" in data[offset:] or not re.match(
            rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r?\Z", data[offset:]
        ):
            raise BadRequestHead(400, "a chunk has no size")
        self._check_overhead(len(data) - offset)

    def _count_overhead(self, size: int) -> None:
        self._check_overhead(size)
        self._overhead_left -= size

    def _check_overhead(self, size: int) -> None:
        if size > self._overhead_left:
            raise BadRequestHead(
                431, f"more than {MAX_HEAD_BYTES} bytes beside the body of the request"
            )
