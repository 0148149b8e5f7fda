"""Promises 1 to 3 under any history: two instances, a small journal each, and clients that move.

Every client judges every frame (`replay_client`) against a list of all that was ever written
(`replay_world`); here it is said what happens, and which gaps have to be told because of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from bridge.core.replay.catchup import NextStep
from bridge.core.sessions.registry import SubscriptionIndex
from tests.core.replay_client_rules import (
    OUTBOX_BYTES,
    STEP_EVENTS,
    TOPICS,
    ClientRules,
    GapsByClient,
    client_indices,
    instance_indices,
    written_events,
)
from tests.core.replay_instance import REPLAY_LIMITS, ReplayInstance
from tests.tiers import example_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.replay.catchup import ScanState
    from bridge.core.sessions.session import Session
    from tests.core.replay_client import ReplayClient
    from tests.core.replay_world import WrittenEvent

keys = st.sampled_from(
    [*[("orders", 0)] * 3, ("orders", 1), ("orders", 2), ("news", 0), ("news", 1), ("young", 0)]
)
#: What a pass reads: of which partition, how many events at most, beginning how far before.
portions = st.lists(
    st.tuples(client_indices, st.integers(1, 12), st.sampled_from([0, 0, 1, 3])), max_size=6
)


class CatchUpMachine(ClientRules):
    """Nobody misses anything without being told, or gets it twice, or out of order."""

    def of(self, sessions: set[Session]) -> Iterator[ReplayClient]:
        return (client for client in self.clients if client.session in sessions)

    def following(self, at: ReplayInstance, topic: str, state: str) -> Iterator[ReplayClient]:
        for client in self.clients:
            if (
                client.instance is at
                and client.state == state
                and topic in client.subscription.topics
            ):
                yield client

    # -- Kafka -------------------------------------------------------------------------------------

    @rule(
        made=st.lists(
            st.tuples(keys, st.lists(written_events, min_size=2, max_size=8)),
            min_size=2,
            max_size=5,
        ),
        hole=st.integers(0, 2),
        readers=st.sampled_from([[0], [0, 1], [1], []]),
    )
    def publish(
        self, made: list[tuple[tuple[str, int], list[WrittenEvent]]], hole: int, readers: list[int]
    ) -> None:
        for key, written in made:
            if self.world.has(*key):
                self.world.write(self.world.partition(*key), written, hole)
                for at in readers:
                    self.read(at, key, 50)

    @rule(
        key=keys,
        mishap=st.sampled_from(["damaged", "expired", "aged", "cut off", "created", "added"]),
        much=st.integers(1, 9),
        back=st.integers(0, 30),
    )
    def something_happens_to_the_log(
        self, key: tuple[str, int], mishap: str, much: int, back: int
    ) -> None:
        if mishap == "created":
            self.world.create(key[0])
        if not self.world.has(*key):
            return
        there = self.world.partition(*key)
        match mishap:
            case "expired":
                there.start = min(there.end, there.start + much)
            case "aged":
                there.min_age_offset = min(there.end, there.min_age_offset + much)
            case "damaged":
                there.corrupt(max(there.start, there.end - back), much)
            case "cut off":
                self.cut_off(key, max(0, there.end - much))
            case "added":
                self.world.add_partition(key[0])

    def cut_off(self, key: tuple[str, int], end: int) -> None:
        """An unclean election, which every instance sees before anything is written again."""
        topic, partition = key
        self.world.partition(*key).truncate(end)
        gaps: GapsByClient = {}
        for at in self.instances:
            if at.is_reading(*key) and at.read_place(topic).offsets[partition] > end:
                for client in self.following(at, topic, "live"):
                    gaps[client] = {topic: "truncated"}
                for client in self.following(at, topic, "replaying"):
                    if (
                        not client.is_recreated(topic)
                        and client.next_offset(topic, partition) > end
                    ):
                        gaps[client] = {topic: "truncated"}
                at.hub.skip_unreadable(topic, "truncated", {partition: end})
        self.check_all(gaps)

    # -- the feeds ---------------------------------------------------------------------------------

    @rule(at=instance_indices, key=keys, most=st.integers(1, 50))
    def read(self, at: int, key: tuple[str, int], most: int) -> None:
        it, (topic, partition) = self.instances[at], key
        if not it.is_reading(*key):
            self.see_topic(it, topic)
        elif obstacle := it.unreadable(*key, it.read_place(topic).offsets[partition]):
            lost = list(self.following(it, topic, "live"))
            it.read(*key, most)
            self.check_all({client: {topic: obstacle[0]} for client in lost})
        else:
            it.read(*key, most)
            self.check_all()

    def see_topic(self, it: ReplayInstance, topic: str) -> None:
        there, mine = self.world.topics.get(topic), it.read_place(topic).topic_id
        gaps: GapsByClient = {}
        if there is not None and mine not in {b"", there.identity}:
            for client in self.following(it, topic, "live"):
                gaps[client] = {topic: "recreated"}
            for client in self.following(it, topic, "replaying"):
                if client.positions[topic].topic_id != there.identity:
                    gaps[client] = {topic: "recreated"}
        it.discover(topic)
        self.check_all(gaps)

    # -- catching up -------------------------------------------------------------------------------

    @precondition(lambda self: any(it.state == "replaying" for it in self.clients))
    @rule(index=client_indices, often=st.integers(1, 3))
    def step(self, index: int, often: int) -> None:
        for _ in range(often):
            if client := self.pick_client(index, lambda it: it.state == "replaying"):
                need = self.take_step(client)
                if need is NextStep.READ_KAFKA and client.awaits_bounds:
                    self.pass_judgement(client)

    def take_step(self, client: ReplayClient) -> NextStep:
        others = {topic for topic in client.subscription.topics if client.is_recreated(topic)}
        replayed = client.replayed_count
        replay, session = client.session.replay, client.session
        assert replay is not None
        need = client.instance.catch_up.advance(session)
        self.check_all({client: dict.fromkeys(others, "recreated")})
        assert (need is NextStep.DONE) == (client.state == "live")
        assert client.replayed_count - replayed <= STEP_EVENTS
        match need:
            case NextStep.WAIT_FOR_CLIENT:
                assert session.outbox.pending_bytes >= OUTBOX_BYTES // 2
            case NextStep.READ_KAFKA:
                assert client.missing_ranges() or (client.is_ahead() and not replay.is_admitted)
        assert client.instance.catch_up.missing_ranges(session) == (
            client.missing_ranges() if client.state == "replaying" else {}
        )
        return need

    def pass_judgement(self, client: ReplayClient) -> bool:
        topics = client.subscription.topics
        bounds = {topic: self.world.bounds(topic) for topic in topics}
        fits = all(
            bounds[t].topic_id in {None, client.instance.read_place(t).topic_id} for t in topics
        )
        gaps = client.expected_gaps(REPLAY_LIMITS.max_records) if fits else {}
        assert client.instance.catch_up.check_bounds(client.session, bounds) == fits
        self.check_all({client: gaps})
        return fits

    @precondition(lambda self: any(it.awaits_scan for it in self.clients))
    @rule(index=client_indices, together=st.booleans(), late=st.booleans(), read=portions)
    def open_pass(
        self, index: int, together: bool, late: bool, read: list[tuple[int, int, int]]
    ) -> None:
        """Let one who needs it, or all, enter a pass that fits, or share a new one."""
        first = self.pick_client(index, lambda it: it.awaits_scan)
        assert first is not None
        at, group = first.instance, [first.session]
        if together:
            group = [it.session for it in self.clients if it.instance is at and it.awaits_scan]
        for scan in at.scans if late else ():
            for session in group:
                if session.index is None and at.catch_up.can_serve(scan, session):
                    at.catch_up.join_scan(scan, session)
        group = [session for session in group if session.index is None]
        if group and len(at.scans) < 2:
            at.start_scan(group)
        self.check_all()
        if at.scans:
            self.go_on_by(at, at.scans[-1], read)

    @precondition(lambda self: any(at.scans for at in self.instances))
    @rule(
        at=instance_indices,
        index=client_indices,
        read=portions,
        end=st.sampled_from([False, False, True]),
    )
    def pass_on(self, at: int, index: int, read: list[tuple[int, int, int]], end: bool) -> None:
        it = self.instances[at] if self.instances[at].scans else self.instances[1 - at]
        scan = it.scans[index % len(it.scans)]
        self.go_on_by(it, scan, read)
        if end:
            it.end_scan(scan)
            self.check_all()

    def go_on_by(
        self, it: ReplayInstance, scan: ScanState, read: list[tuple[int, int, int]]
    ) -> None:
        for key, most, back in read:
            if wanted := it.unread(scan):
                self.go_on(it, scan, wanted[key % len(wanted)], most, back)

    def go_on(
        self, it: ReplayInstance, scan: ScanState, key: tuple[str, int], most: int, back: int
    ) -> None:
        topic, partition = key
        gaps: GapsByClient = {}
        obstacle = it.unreadable(*key, scan.next_offsets[key]) if it.is_reading(*key) else None
        if obstacle and obstacle[0] == "corrupt":
            for client in self.of(scan.subscriptions.all_sessions):
                follows = topic in client.subscription.topics
                if follows and client.next_offset(topic, partition) == scan.next_offsets[key]:
                    gaps[client] = {topic: "corrupt"}
        it.advance_scan(scan, key, most, back)
        self.check_all(gaps)
        for session in it.catch_up.sessions_over_byte_limit(scan):
            (client,) = self.of({session})
            it.catch_up.send_limit_gaps(session)
            self.check_all({client: {topic: "limit" for topic, _ in client.missing_ranges()}})

    # -- always ------------------------------------------------------------------------------------

    @invariant()
    def whoever_is_served_is_served_by_one(self) -> None:
        for at in getattr(self, "instances", ()):
            served = [session for scan in at.scans for session in scan.subscriptions.all_sessions]
            assert len(served) == len(set(served))
            for client in self.clients:
                if client.instance is at:
                    homes = [at.hub.subscriptions, *(scan.subscriptions for scan in at.scans)]
                    there = [home for home in homes if client.session in home.all_sessions]
                    assert there == ([client.session.index] if client.session.index else [])

    def teardown(self) -> None:
        if hasattr(self, "instances"):
            try:
                self.bring_all_up()
            finally:
                self.patch.stop()

    def bring_all_up(self) -> None:
        """Whatever has happened, everybody who is still there gets up to now in the end."""
        for number, at in enumerate(self.instances):
            for scan in tuple(at.scans):
                at.end_scan(scan)
            for topic in TOPICS:
                self.see_topic(at, topic)
                for partition in tuple(at.read_place(topic).offsets):
                    end = self.world.partition(topic, partition).end
                    while at.read_place(topic).offsets[partition] < end:
                        self.read(number, (topic, partition), 50)
            for client in [each for each in self.clients if each.instance is at]:
                self.bring_up(client)
        for client in self.clients:
            client.instance.hub.detach(client.session)
        for at in self.instances:
            assert vars(at.hub.subscriptions) == vars(SubscriptionIndex())
            assert (at.hub.replaying, at.hub.journal._backfills) == (set(), [])

    def bring_up(self, client: ReplayClient) -> None:
        for _ in range(300):
            if client.state != "replaying":
                return
            client.session.outbox.clear()
            client.checked_count = 0
            need = self.take_step(client)
            if need is NextStep.READ_KAFKA:
                if not client.awaits_scan:
                    assert self.pass_judgement(client)
                if client.awaits_scan:
                    client.instance.start_scan([client.session])
                    (scan,) = client.instance.scans
                    while scan.subscriptions.all_sessions and (
                        wanted := client.instance.unread(scan)
                    ):
                        client.session.outbox.clear()
                        client.checked_count = 0
                        self.go_on(client.instance, scan, wanted[0], 9, 0)
                    client.instance.end_scan(scan)
                    self.check_all()
        raise AssertionError("never live")


CatchUpMachine.TestCase.settings = settings(
    max_examples=example_count(150), stateful_step_count=50, deadline=None
)
TestCatchUp = CatchUpMachine.TestCase
