"""What a route costs beside the native envelope: `python -m tests.bench.routes [ROUNDS]`.

Records per CPU-second of decoding, as ratios: the median of the rounds, in which the kinds take
turns, so that a machine that becomes slower does so for all of them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from bridge.app.decoders import build_topic_decoder
from bridge.cli.runner import tune_memory
from bridge.config.settings import LimitSettings
from bridge.config.topics import TopicDefinition
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import RecordDecoder
from tests.core.factories import ConsumerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_RECORDS, BATCHES = 500, 40
NATIVE = "native envelope"
#: By name: the route, None for the native envelope.
ROUTES: dict[str, Any] = {
    NATIVE: None,
    "value path": {"accounts": "{value.customer.id}"},
    "value path, text beside": {"rooms": "customer:{value.customer.id}"},
    "value path, a number": {"accounts": "{value.customer.number}"},
    "three value paths, when": {
        "accounts": "{value.customer.id}",
        "when": {"value.kind": ["order", "refund"]},
        "type": "{value.status}",
    },
    "value path, data of fields": {
        "accounts": "{value.customer.id}",
        "data": {"id": "{value.id}", "total": "{value.total}"},
    },
    "key": {"accounts": "{key}"},
    "key, text beside": {"rooms": "order:{key}"},
    "header": {"accounts": "{header.customer}"},
    "jmespath": {"accounts": {"jmespath": "value.customer.id"}},
}


def order(number: int) -> dict[str, Any]:
    """An order of about 400 bytes, as shops write them."""
    return {
        "id": number,
        "kind": "order",
        "status": "shipped",
        "customer": {
            "id": f"c-{number % 997}",
            "number": number % 997 + 1,
            "name": "Alice Liddell",
        },
        "lines": [{"sku": f"A-{n}", "quantity": n + 1, "price": 12.5} for n in range(4)],
        "total": 28.9,
        "currency": "EUR",
        "updated_at": "2026-11-21T09:00:00Z",
    }


def batches(name: str) -> list[Batch]:
    """Records for one account each; a native envelope has the order as its data."""
    made = []
    for first in range(0, BATCHES * BATCH_RECORDS, BATCH_RECORDS):
        records = []
        for number in range(first, first + BATCH_RECORDS):
            value, account = order(number), f"c-{number % 997}"
            if name == NATIVE:
                value = {"accounts": [account], "data": value}
            headers = [("customer", account.encode())] if name == "header" else []
            raw = json.dumps(value).encode()
            records.append(ConsumerRecord(number, 0, account.encode(), raw, headers))
        made.append(Batch("t", 0, records, first + BATCH_RECORDS))
    return made


def decoder(route: Any) -> RecordDecoder:
    """The decoder of a topic with `route`."""
    more = {} if route is None else {"route": route}
    topic = TopicDefinition(name="t", **more)
    return RecordDecoder(build_topic_decoder(topic, LimitSettings()))


def cpu_seconds(record_decoder: RecordDecoder, made: Sequence[Batch]) -> float:
    """Decode all; each record must be an event."""
    started = time.process_time()
    count = sum(len(record_decoder.decode(batch).events) for batch in made)
    seconds = time.process_time() - started
    assert count == BATCHES * BATCH_RECORDS
    return seconds


def main() -> None:
    """Print the rates and their ratios to the native envelope's."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    decoders = {name: decoder(route) for name, route in ROUTES.items()}
    made = {name: batches(name) for name in ROUTES}
    tune_memory()
    seconds: dict[str, list[float]] = {name: [] for name in ROUTES}
    for _ in range(rounds):
        for name, record_decoder in decoders.items():
            seconds[name].append(cpu_seconds(record_decoder, made[name]))
    native = statistics.median(seconds[NATIVE])
    for name, each in seconds.items():
        rate = BATCHES * BATCH_RECORDS / statistics.median(each)
        print(f"{rate:12,.0f}/s  {native / statistics.median(each):5.2f}  {name}")


if __name__ == "__main__":
    main()
