"""Reload: topics come, go and change, and everybody who is connected stays."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import jwt
import pytest

from bridge.core.protocol.cursor import decode_cursor
from bridge.web.api.reload import InstanceDraining
from tests.app.memory_instance import READER_TOKEN, TIMEOUT_SECONDS, MemoryInstance

if TYPE_CHECKING:
    from pathlib import Path


def topics_of(cursor: str) -> set[str]:
    return set(decode_cursor(cursor))


async def test_reload_lists_what_was_added_removed_and_changed(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a", "b", {"name": "c", "kafka": "c1"}])
    for topic in ("a", "b", "c1", "c2", "d"):
        bridge.kafka.create(topic)
    async with bridge.running():
        changes = await bridge.reload_as(
            [{"name": "b", "private": True}, {"name": "c", "kafka": "c2"}, "d"],
            limits={"rooms": 7},
            heartbeat_seconds=9,
        )
        assert changes == {
            "added": ["c", "d"],
            "removed": ["a", "c"],
            "changed": ["b"],
            "restart": ["heartbeat_seconds", "limits.rooms"],
        }
        assert {n: r["kafka"] for n, r in (await bridge.topics()).items()} == {
            "b": "b",
            "c": "c2",
            "d": "d",
        }
        again = await bridge.reload()
        assert again.json() == {
            "added": [],
            "removed": [],
            "changed": [],
            "restart": ["heartbeat_seconds", "limits.rooms"],
        }


async def test_who_followed_a_topic_that_went_gets_a_gap_and_nothing_more_of_it(
    tmp_path: Path,
) -> None:
    bridge = MemoryInstance(tmp_path, ["a", "b"])
    bridge.kafka.create("a")
    bridge.kafka.create("b")
    async with bridge.running(), bridge.connect() as client:
        assert (await client.expect("welcome"))["topics"] == ["a", "b"]
        bridge.publish("a", 1)
        assert (await client.expect("event"))["data"] == 1
        await bridge.reload_as(["b"])
        gap = await client.expect("gap")
        assert (gap["topic"], gap["reason"]) == ("a", "removed")
        assert topics_of(gap["cursor"]) == {"b"}
        bridge.publish("a", 2)
        bridge.publish("b", 3)
        assert (await client.expect("event"))["data"] == 3
        reply = await client.request("subscribe", topics=["b"])
        assert reply["topics"] == ["b"]
        refused = await client.request("subscribe", topics=["a"])
        assert (refused["error"], refused["ok"]) == ("forbidden", False)
        metrics = (await bridge.http.get("/metrics")).text
        assert 'topic="b"' in metrics
        assert 'topic="a"' not in metrics
        assert 'push_bridge_feed_gaps_total{reason="removed"} 1' in metrics


async def test_an_added_topic_is_read_before_the_answer_and_from_its_end(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    bridge.kafka.create("a")
    bridge.kafka.create("b")
    bridge.publish("b", 1)
    async with bridge.running(), bridge.connect() as client:
        await client.expect("welcome")
        await bridge.reload_as(["a", "b"])
        assert (await bridge.topics())["b"]["state"] == "reading"
        async with bridge.connect() as newcomer:
            assert (await newcomer.expect("welcome"))["topics"] == ["a", "b"]
            bridge.publish("b", 2)
            assert (await newcomer.expect("event"))["data"] == 2
        bridge.publish("a", 3)  # who named no topics has those that were there
        assert (await client.expect("event"))["data"] == 3
        reply = await client.request("subscribe", topics=["b"])
        assert reply["topics"] == ["a", "b"]
        bridge.publish("b", 4)
        assert (await client.expect("event"))["data"] == 4


async def test_a_topic_with_another_kafka_topic_counts_as_removed_and_added(
    tmp_path: Path,
) -> None:
    bridge = MemoryInstance(tmp_path, [{"name": "a", "kafka": "one"}])
    for topic in ("one", "two"):
        bridge.kafka.create(topic)
        bridge.publish(topic, 0, 0, 0)
    async with bridge.running(), bridge.connect("topics=a") as client:
        await client.expect("welcome")
        await bridge.reload_as([{"name": "a", "kafka": "two"}])
        assert (await client.expect("gap"))["reason"] == "removed"
        bridge.publish("two", 1)
        await client.check_responsive()
        reply = await client.request("subscribe", topics=["a"])
        assert topics_of(reply["cursor"]) == {"a"}
        bridge.publish("one", 2)
        bridge.publish("two", 3)
        event = await client.expect("event")
        assert (event["data"], event["at"]) == (3, "a:0:4")


async def test_a_topic_that_becomes_private_is_taken_from_whose_grant_lacks_it(
    tmp_path: Path,
) -> None:
    secret = "a-secret-of-at-least-thirty-two-bytes"
    auth = {"mode": "jwt", "secret": secret}
    bridge = MemoryInstance(tmp_path, ["a", "b"], auth=auth)
    bridge.kafka.create("a")
    bridge.kafka.create("b")
    plain = jwt.encode({"sub": "ann"}, secret)
    granted = jwt.encode({"sub": "bob", "topics": ["a", "b"]}, secret)
    async with (
        bridge.running(),
        bridge.connect(f"token={plain}") as ann,
        bridge.connect(f"token={granted}") as bob,
    ):
        for client in (ann, bob):
            assert (await client.expect("welcome"))["topics"] == ["a", "b"]
        changes = await bridge.reload_as([{"name": "a", "private": True}, "b"], auth=auth)
        assert changes["changed"] == ["a"]
        gap = await ann.expect("gap")
        assert (gap["topic"], gap["reason"], topics_of(gap["cursor"])) == (
            "a",
            "removed",
            {"b"},
        )
        bridge.publish("a", 1)
        bridge.publish("b", 2)
        assert (await ann.expect("event"))["data"] == 2
        assert sorted([(await bob.expect("event"))["data"] for _ in range(2)]) == [1, 2]


async def test_wrong_settings_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    bridge.kafka.create("a")
    async with bridge.running(), bridge.connect() as client:
        await client.expect("welcome")
        bridge.write(["b"], limits={"roms": 1})
        with caplog.at_level(logging.ERROR):
            response = await bridge.reload()
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
        sentence = response.json()["detail"]
        assert "limits.roms: line " in sentence
        errors = [r.getMessage() for r in caplog.records if r.name == "bridge.app.reload"]
        assert [sentence in error for error in errors] == [True]
        assert (await bridge.topics()).keys() == {"a"}
        bridge.publish("a", 1)
        assert (await client.expect("event"))["data"] == 1


async def test_reload_needs_a_token_that_may_write(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    async with bridge.running():
        assert (await bridge.reload("a-wrong-token-of-some-length")).status_code == 401
        assert (await bridge.reload(READER_TOKEN)).status_code == 403
        assert (await bridge.http.get("/v1/reload")).status_code == 405


async def test_two_reloads_at_once_follow_each_other(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    bridge.kafka.create("a")
    async with bridge.running():
        bridge.write(["b"])
        first, second = await asyncio.gather(bridge.reload(), bridge.reload())
        assert [first.json()["added"], second.json()["added"]] in ([["b"], []], [[], ["b"]])


async def test_reload_before_ready(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    bridge.kafka.create("a")
    bridge.kafka.create("b")
    bridge.kafka.is_down = True
    async with bridge.running(wait_ready=False):
        changes = await bridge.reload_as(["b"])
        assert (changes["added"], changes["removed"]) == (["b"], ["a"])
        bridge.kafka.is_down = False
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await bridge.ready.wait()
            await bridge.wait_for_state("b", "reading")
        async with bridge.connect() as client:
            assert (await client.expect("welcome"))["topics"] == ["b"]
            bridge.publish("b", 1)
            assert (await client.expect("event"))["data"] == 1


async def test_reload_while_kafka_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.app.reload.START_TIMEOUT_SECONDS", 0.1)
    bridge = MemoryInstance(tmp_path, ["a"])
    bridge.kafka.create("a")
    bridge.kafka.create("b")
    async with bridge.running(), bridge.connect() as client:
        await client.expect("welcome")
        bridge.kafka.is_down = True
        changes = await bridge.reload_as(["b"])
        assert (changes["added"], changes["removed"]) == (["b"], ["a"])
        assert (await client.expect("gap"))["reason"] == "removed"
        await client.send("subscribe", topics=["b"], id=1)
        await client.check_responsive()
        bridge.kafka.is_down = False
        assert (await client.next_of("reply"))["topics"] == ["b"]
        bridge.publish("b", 1)
        assert (await client.next_of("event"))["data"] == 1


async def test_reload_during_a_drain_is_refused(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, ["a"])
    async with bridge.running():
        bridge.instance.request_drain()
        with pytest.raises(InstanceDraining):
            await bridge.instance._reloader.reload()
