"""Finds and counts the events in received bytes: frames, private streams, shared streams.

Rule: every event is checked, and none is parsed twice. A private stream is parsed frame by frame.
Bytes of a shared stream are only compared with what another client has already received.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.bench.load.delivery_check import consecutive_ranges
from bridge.bench.load.latency import STEP_BITS, LatencyBatch
from bridge.bench.load.payload import FIELDS_WIDTH, decode_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.bench.load.delivery_check import ReadProgress
    from bridge.bench.load.latency import LatencyHistogram
    from bridge.bench.load.payload import EventStamp

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_LENGTH_16, _LENGTH_64 = 126, 127
_EXACT_BITS: Final = STEP_BITS + 1
_MAX_SHARED_BYTES: Final = 4 << 20  # clients rarely drift apart by more than half of it


def split_frames(data: bytes, offset: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield each complete frame: its first byte, and the start and end of its payload."""
    size = len(data)
    while offset + 2 <= size:
        length = data[offset + 1]
        payload_start = offset + 2
        if length == _LENGTH_16:
            payload_start = offset + 4
            length = int.from_bytes(data[offset + 2 : payload_start], "big")
        elif length == _LENGTH_64:
            payload_start = offset + 10
            length = int.from_bytes(data[offset + 2 : payload_start], "big")
        end = payload_start + length
        if payload_start > size or end > size:
            return
        yield data[offset], payload_start, end
        offset = end


def encode_text_frame(text: bytes) -> bytes:
    """Return a text frame as a server sends it."""
    return encode_server_frame(TEXT, text)


def encode_server_frame(first_byte: int, payload: bytes) -> bytes:
    """Return an unmasked frame."""
    size = len(payload)
    if size < _LENGTH_16:
        return bytes((first_byte, size)) + payload
    if size < 1 << 16:
        return bytes((first_byte, _LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def encode_client_frame(first_byte: int, payload: bytes = b"") -> bytes:
    """Return a masked frame; the payload is below 126 bytes, and the mask is zeros."""
    return bytes((first_byte, 0x80 | len(payload))) + b"\0\0\0\0" + payload


class _FrameLayout(NamedTuple):
    """The positions of the marker and the fields in frames with one head."""

    unpack: Callable[[bytes, int], tuple[bytes, bytes]]
    size: int


class PrivateStreamReader:
    """Reads streams that each client receives for itself alone.

    Frames with the same head usually have the same layout. So the fields of most frames are read at
    known offsets, and a frame is searched only if the marker is not where it was expected.
    """

    def __init__(self, marker: bytes, histogram: LatencyHistogram) -> None:
        self._marker = marker
        self._histogram = histogram
        self._layouts: dict[bytes, _FrameLayout] = {}  # by the first four bytes of a frame

    def read(
        self, progress: ReadProgress, data: bytes | memoryview, now_ns: int
    ) -> tuple[int, list[tuple[int, bytes]]]:
        """Count what one client received; return the number of events, and the other frames."""
        data = progress.partial_frame + data
        marker, size = self._marker, len(data)
        delivery_check, layouts = progress.delivery_check, self._layouts
        counts, next_numbers = self._histogram.counts, delivery_check.next_numbers
        other_frames: list[tuple[int, bytes]] = []
        events = offset = max_latency_ns = 0
        while offset + 2 <= size:
            layout = layouts.get(data[offset : offset + 4])
            if layout is not None and offset + layout.size <= size:
                found_marker, fields = layout.unpack(data, offset)
                end = offset + layout.size
            else:
                found_marker = b""
            # The layout is unknown, or differs from that of earlier frames with this head.
            if found_marker != marker:
                frame = next(split_frames(data, offset), None)
                if frame is None:
                    break
                first_byte, payload_start, end = frame
                fields_offset = data.find(marker, payload_start, end) if first_byte == TEXT else -1
                if fields_offset < 0:
                    other_frames.append((first_byte, data[payload_start:end]))
                    offset = end
                    continue
                fields_offset += len(marker)
                fields = data[fields_offset : fields_offset + FIELDS_WIDTH]
                if data[offset + 1] == _LENGTH_16:
                    self._cache_layout(
                        data[offset : offset + 4], fields_offset - offset, end - offset
                    )
            offset = end
            sequence_id, number, created_ns = (
                int(fields[0:6]),
                int(fields[7:17]),
                int(fields[18:37]),
            )
            if next_numbers.get(sequence_id, 0) == number:
                next_numbers[sequence_id] = number + 1
            else:
                delivery_check.add(sequence_id, number)
            latency_ns = now_ns - created_ns
            if latency_ns > max_latency_ns:
                max_latency_ns = latency_ns
            elif latency_ns < 0:
                latency_ns = 0
            shift = latency_ns.bit_length() - _EXACT_BITS
            counts[latency_ns if shift <= 0 else (shift << STEP_BITS) + (latency_ns >> shift)] += 1
            events += 1
        self._histogram.max_value = max(self._histogram.max_value, max_latency_ns)
        progress.partial_frame = data[offset:]
        return events, other_frames

    def add_client(self, progress: ReadProgress) -> None:
        """Nothing to do: private streams have no common state."""

    def discard_partial_frame(self, progress: ReadProgress) -> None:
        """Drop the incomplete frame of a client whose connection has ended."""
        progress.partial_frame = b""

    def _cache_layout(self, head: bytes, fields_offset: int, size: int) -> None:
        """Remember the positions of the marker and the fields in frames that begin with `head`."""
        marker_offset = fields_offset - len(self._marker)
        unpack = Struct(f"{marker_offset}x{len(self._marker)}s{FIELDS_WIDTH}s").unpack_from
        self._layouts[head] = _FrameLayout(unpack, size)


class SharedStreamReader:
    """Reads streams that all clients of one bridge receive alike.

    It keeps the event frames of the client that is ahead, up to `max_bytes`. What another client
    reads is compared with them; equal bytes only move its position. From the first difference on,
    its frames are parsed until they are equal again. Numbers of a sequence only rise in the shared
    bytes; a late event is counted for its client alone.
    """

    def __init__(
        self, marker: bytes, histogram: LatencyHistogram, max_bytes: int = _MAX_SHARED_BYTES
    ) -> None:
        self._marker = marker
        self._histogram = histogram
        self._max_bytes = max_bytes
        self._shared_bytes = bytearray()
        self._frame_offsets = [0]  # start of each frame, and end of the last
        self._events: list[EventStamp] = []
        self._event_indexes: dict[bytes, int] = {}  # by the fields as they were received
        self._next_numbers: dict[int, int] = {}  # by sequence, of the shared bytes
        self._known_ranges: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._latencies = LatencyBatch(histogram)
        self._all_progress: list[ReadProgress] = []

    def add_client(self, progress: ReadProgress) -> None:
        """Register a client, so that `flush` and the removal of old bytes include it."""
        self._all_progress.append(progress)

    def read(
        self, progress: ReadProgress, data: bytes | memoryview, now_ns: int
    ) -> tuple[int, Sequence[tuple[int, bytes]]]:
        """Count what one client received; return the number of events, and the other frames."""
        if progress.partial_frame:
            data = progress.partial_frame + data
            progress.partial_frame = b""
        byte_offset = progress.byte_offset
        if not self._shared_bytes.startswith(data, byte_offset):
            return self._read_unmatched(progress, data, now_ns)
        events_read = progress.events_read
        progress.byte_offset = byte_offset = byte_offset + len(data)
        new_events_read = bisect_right(self._frame_offsets, byte_offset, events_read + 1) - 1
        if new_events_read > events_read:
            progress.events_read = new_events_read
            self._latencies.add(events_read, new_events_read, now_ns)
        return new_events_read - events_read, ()

    def flush(self) -> None:
        """Add pending latencies to the histogram, and pending events to each delivery check."""
        self._latencies.flush()
        for progress in self._all_progress:
            self._check_delivery(progress, progress.events_read)

    def discard_partial_frame(self, progress: ReadProgress) -> None:
        """Drop the incomplete frame of a client whose connection has ended."""
        progress.partial_frame = b""
        progress.byte_offset = self._frame_offsets[progress.events_read]

    # -- bytes that differ -----------------------------------------------------------------------

    def _read_unmatched(
        self, progress: ReadProgress, data: bytes | memoryview, now_ns: int
    ) -> tuple[int, list[tuple[int, bytes]]]:
        frame_offsets, shared_bytes, marker = self._frame_offsets, self._shared_bytes, self._marker
        frame_start = frame_offsets[progress.events_read]
        data = bytes(shared_bytes[frame_start : progress.byte_offset]) + data
        progress.byte_offset = frame_start
        other_frames: list[tuple[int, bytes]] = []
        view = memoryview(data)
        events = offset = 0
        while True:
            frame_start, events_read = frame_offsets[progress.events_read], progress.events_read
            if frame_start < len(shared_bytes) and self._read_matching_frames(
                progress, view[offset:], now_ns
            ):
                events += progress.events_read - events_read
                offset += progress.byte_offset - frame_start
            frame = next(split_frames(data, offset), None)
            if frame is None:
                break
            first_byte, payload_start, end = frame
            marker_offset = data.find(marker, payload_start, end) if first_byte == TEXT else -1
            if marker_offset < 0:
                other_frames.append((first_byte, data[payload_start:end]))
            else:
                self._read_event(
                    progress, data[offset:end], marker_offset - offset + len(marker), now_ns
                )
                events += 1
            offset = end
        partial_frame = data[offset:]
        if partial_frame and shared_bytes.startswith(partial_frame, progress.byte_offset):
            progress.byte_offset += len(partial_frame)
        else:
            progress.partial_frame = partial_frame
        if len(shared_bytes) > self._max_bytes:
            self._discard_older_half()
        return events, other_frames

    def _read_matching_frames(self, progress: ReadProgress, data: memoryview, now_ns: int) -> bool:
        """Advance over the frames at the start of `data` that equal the shared bytes."""
        frame_offsets, shared_bytes = self._frame_offsets, self._shared_bytes
        events_read, frame_start = progress.events_read, progress.byte_offset
        if not shared_bytes.startswith(
            data[: frame_offsets[events_read + 1] - frame_start], frame_start
        ):
            return False  # the usual case: skip the search below
        last_candidate = bisect_right(frame_offsets, frame_start + len(data), events_read + 1) - 1
        progress.events_read += bisect_left(
            range(events_read + 1, last_candidate + 1),
            True,  # noqa: FBT003 - the first index at which the bytes differ
            key=lambda index: (
                not shared_bytes.startswith(data[: frame_offsets[index] - frame_start], frame_start)
            ),
        )
        if progress.events_read == events_read:
            return False
        progress.byte_offset = frame_offsets[progress.events_read]
        self._latencies.add(events_read, progress.events_read, now_ns)
        return True

    def _read_event(
        self, progress: ReadProgress, frame: bytes, fields_offset: int, now_ns: int
    ) -> None:
        """Count one event whose fields are at `fields_offset` in its frame."""
        raw_fields = frame[fields_offset : fields_offset + FIELDS_WIDTH]
        event_index = self._event_indexes.get(raw_fields)
        if event_index is None:
            event = decode_fields(frame, fields_offset)
            if event.number < self._next_numbers.get(event.sequence_id, 0):
                self._check_delivery(progress, progress.events_read)
                progress.delivery_check.add(event.sequence_id, event.number)
                self._histogram.add(now_ns - event.created_ns)
                return
            event_index = self._append_event(raw_fields, event, frame)
        if event_index != progress.events_read:
            self._check_delivery(progress, progress.events_read)
            progress.first_unchecked = event_index
        progress.events_read = event_index + 1
        progress.byte_offset = self._frame_offsets[event_index + 1]
        self._latencies.add(event_index, event_index + 1, now_ns)

    def _append_event(self, raw_fields: bytes, event: EventStamp, frame: bytes) -> int:
        event_index = self._event_indexes[raw_fields] = len(self._events)
        self._events.append(event)
        self._latencies.created_ns.append(event.created_ns)
        self._next_numbers[event.sequence_id] = event.number + 1
        self._shared_bytes += frame
        self._frame_offsets.append(len(self._shared_bytes))
        return event_index

    # -- delivery checks, and removal of old bytes -----------------------------------------------

    def _check_delivery(self, progress: ReadProgress, end_index: int) -> None:
        """Add the client's unchecked events below `end_index` to its delivery check."""
        start_index = progress.first_unchecked
        if start_index >= end_index:
            return
        ranges = self._known_ranges.get((start_index, end_index))
        if ranges is None:  # the same range for nearly all clients
            ranges = self._known_ranges[start_index, end_index] = consecutive_ranges(
                self._events[start_index:end_index]
            )
        for sequence_id, first, count in ranges:
            progress.delivery_check.add(sequence_id, first, count)
        progress.first_unchecked = end_index

    def _discard_older_half(self) -> None:
        """Remove the older half. A client that has not read so far meets the rest again later."""
        discarded_events = bisect_left(self._frame_offsets, len(self._shared_bytes) // 2)
        discarded_bytes = self._frame_offsets[discarded_events]
        for progress in self._all_progress:
            self._check_delivery(progress, min(progress.events_read, discarded_events))
            if progress.events_read < discarded_events:
                progress.partial_frame = (
                    bytes(
                        self._shared_bytes[
                            self._frame_offsets[progress.events_read] : progress.byte_offset
                        ]
                    )
                    or progress.partial_frame
                )
                progress.byte_offset = progress.events_read = progress.first_unchecked = 0
            else:
                progress.first_unchecked = (
                    max(progress.first_unchecked, discarded_events) - discarded_events
                )
                progress.events_read -= discarded_events
                progress.byte_offset -= discarded_bytes
        self._known_ranges.clear()
        self._latencies.discard_oldest(discarded_events)
        del self._shared_bytes[:discarded_bytes]
        del self._events[:discarded_events]
        self._frame_offsets = [
            offset - discarded_bytes for offset in self._frame_offsets[discarded_events:]
        ]
        self._event_indexes = {
            raw_fields: event_index - discarded_events
            for raw_fields, event_index in self._event_indexes.items()
            if event_index >= discarded_events
        }
