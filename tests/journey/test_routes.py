"""The examples of docs/routes.md, by configuration alone: live, resumed, in `/history`, on two
instances of a real Kafka."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import httpx
import pytest
import yaml

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.history_pages import read_page
from tests.harness.ports import HOST
from tests.harness.recording_client import RecordingClient

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
PAGE = Path(__file__).parents[2] / "docs/routes.md"


class Example(NamedTuple):
    """A section of the page."""

    title: str
    topic: dict[str, Any]
    records: list[dict[str, Any]]
    query: dict[str, str]
    events: list[dict[str, Any]]


def examples() -> list[Example]:
    """All sections that begin with `Example`."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    found: list[Example] = []
    for section in sections:
        if section.startswith("Example: "):
            (topic,) = yaml.safe_load(_blocks(section, "yaml")[0])["topics"]
            records, events = map(json.loads, _blocks(section, "json"))
            query = re.findall(r"are these events for `([^`]+)`", section)[0]
            title = section.splitlines()[0].removeprefix("Example: ")
            found.append(Example(title, topic, records, dict(parse_qsl(query)), events))
    return found


def _blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def record(described: dict[str, Any]) -> RecordToProduce:
    """A record of the page; a value that is text is written as it is."""
    value = described["value"]
    raw = None if value is None else value if isinstance(value, str) else json.dumps(value)
    headers = tuple((name, text.encode()) for name, text in described["headers"].items())
    return RecordToProduce(
        None if raw is None else raw.encode(), described["key"].encode(), headers
    )


def an_hour_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=1)).isoformat()


def as_on_the_page(frames: list[dict[str, Any]], example: Example) -> list[dict[str, Any]]:
    """Of each frame the fields that the page shows of it."""
    assert len(frames) == len(example.events)
    pairs = zip(frames, example.events, strict=True)
    return [{name: frame.get(name) for name in shown} for frame, shown in pairs]


def test_the_page_has_its_examples() -> None:
    assert [example.title for example in examples()] == [
        "a shop's orders in JSON",
        "plain text, keyed by user",
        "CloudEvents",
        "changes of a database, by Debezium",
    ]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
async def test_an_example_works_by_configuration_alone(
    kafka: KafkaCluster, example: Example
) -> None:
    topic = {**example.topic, "kafka": fresh_name(example.topic["kafka"])}
    await create_topic(kafka.bootstrap, topic["kafka"], 1)
    prefix = fresh_name("bridge")
    parameters: dict[str, Any] = {**example.query, "topics": [topic["name"]]}
    if "rooms" in parameters:
        parameters["rooms"] = parameters["rooms"].split(",")
    async with (
        BridgeProcess("one", [topic], kafka.bootstrap, KAFKA__PREFIX=prefix) as one,
        BridgeProcess("two", [topic], kafka.bootstrap, KAFKA__PREFIX=prefix) as two,
    ):
        await one.wait_ready()
        await two.wait_ready()
        async with (
            RecordingClient(one.url, **parameters) as here,
            RecordingClient(two.url, **parameters) as there,
        ):
            cursor = here.frames()[0]["cursor"]
            await produce(kafka.bootstrap, topic["kafka"], map(record, example.records))
            for client in (here, there):
                await client.wait_for_text('"event"', len(example.events))
                assert as_on_the_page(client.events(), example) == example.events
        for place in ({"cursor": cursor}, {"since": an_hour_ago()}):
            async with RecordingClient(two.url, **parameters, **place) as resumed:
                await resumed.wait_for_text('"op":"live"', 1)
                assert resumed.events() == here.events()
        async with httpx.AsyncClient(trust_env=False) as http:
            query = {**example.query, "topics": topic["name"]}
            answer = await http.get(f"http://{HOST}:{one.port}/history", params=query)
        assert read_page(answer.content).events == here.events()
