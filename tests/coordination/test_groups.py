"""Groups of instances that are gone are deleted, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiokafka import errors

from bridge.coordination.groups import MAX_DELETIONS, GroupSweeper
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination.state_records import ConsumerGroup, InstanceHeartbeat, Tombstone

if TYPE_CHECKING:
    import pytest

NOON = "2026-11-21T12:00:00.000Z"
SWEEP_SECONDS = 100.0


class Sweep:
    """A sweeper of the instance `own`, with a clock and a Kafka of its own."""

    def __init__(self, *, commits: bool = True, sweep_seconds: float = SWEEP_SECONDS) -> None:
        self.now = 0.0
        self.alive: set[str] = {"own"}
        self.deleted: list[str] = []
        self.written: list[tuple[bytes, Any]] = []
        self.errors: dict[str, Exception] = {}
        double: Any = self
        self.sweeper = GroupSweeper(
            double,
            double,
            BridgeTopics("p"),
            "own",
            commits=commits,
            sweep_seconds=sweep_seconds,
            is_leader=lambda: True,
            alive=self.alive,
            clock=lambda: self.now,
        )

    # called as the Kafka client and the state writer
    async def delete_group(self, group: str) -> None:
        if group in self.errors:
            raise self.errors[group]
        self.deleted.append(group)

    def queue_state_record(self, topic: str, key: bytes, value: bytes | None) -> None:
        assert topic == "p.state"
        self.written.append((key, None if value is None else json.loads(value)))

    def note(self, *instances: str) -> None:
        for instance in instances:
            self.sweeper.apply(ConsumerGroup(instance))

    async def after(self, seconds: float) -> list[str]:
        """Sweep so much later; return the groups that were deleted."""
        self.now += seconds
        self.deleted = []
        await self.sweeper.sweep()
        return self.deleted


async def test_a_group_is_deleted_once_its_instance_was_silent_long_enough() -> None:
    sweep = Sweep()
    sweep.note("gone")
    assert await sweep.after(99) == []
    assert await sweep.after(1) == ["p.gone"]
    assert sweep.written == [(b"group,gone", None)]
    assert await sweep.after(1000) == []


async def test_groups_that_no_instance_has_noted_stay() -> None:
    sweep = Sweep()
    sweep.sweeper.apply(InstanceHeartbeat("other", "b", NOON, NOON))
    assert await sweep.after(1000) == []


async def test_who_is_alive_or_was_heard_of_is_not_gone() -> None:
    sweep = Sweep()
    sweep.note("alive", "heard", "own")
    sweep.alive.add("alive")
    assert await sweep.after(99) == []
    sweep.sweeper.apply(InstanceHeartbeat("heard", "b", NOON, NOON))
    assert await sweep.after(99) == []
    assert await sweep.after(1) == ["p.heard"]


async def test_a_group_that_somebody_uses_stays() -> None:
    sweep = Sweep()
    sweep.note("used", "gone")
    sweep.errors["p.used"] = errors.NonEmptyGroup()
    assert await sweep.after(100) == ["p.gone"]
    assert sweep.written == [(b"group,gone", None)]
    sweep.errors.clear()
    assert await sweep.after(100) == ["p.used"]


async def test_without_the_right_there_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    sweep = Sweep()
    sweep.note("gone", "away")
    sweep.errors = dict.fromkeys(["p.gone", "p.away"], errors.GroupAuthorizationFailedError())
    for _ in range(3):
        assert await sweep.after(1000) == []
    (record,) = caplog.records
    assert "Delete on Group p.gone" in record.getMessage()


async def test_what_fails_is_tried_again() -> None:
    sweep = Sweep()
    sweep.note("gone")
    sweep.errors["p.gone"] = errors.NodeNotReadyError()
    assert await sweep.after(100) == []
    sweep.errors.clear()
    assert await sweep.after(1) == ["p.gone"]


async def test_a_look_deletes_a_bounded_number() -> None:
    sweep = Sweep()
    sweep.note(*(f"gone-{number}" for number in range(MAX_DELETIONS + 1)))
    assert len(await sweep.after(100)) == MAX_DELETIONS
    assert len(await sweep.after(0)) == 1


async def test_an_instance_notes_its_group_and_again_if_it_was_swept() -> None:
    sweep = Sweep(sweep_seconds=0)
    await sweep.sweeper.run()
    noted = (b"group,own", {"is": "group", "instance": "own"})
    assert sweep.written == [noted]
    sweep.sweeper.apply(Tombstone("group", ("own",)))
    assert sweep.written == [noted, noted]


async def test_without_commits_it_notes_nothing() -> None:
    sweep = Sweep(commits=False, sweep_seconds=0)
    await sweep.sweeper.run()
    sweep.sweeper.apply(Tombstone("group", ("own",)))
    assert sweep.written == []
