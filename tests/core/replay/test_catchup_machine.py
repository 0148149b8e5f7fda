"""Promises 1 to 3 under any history: two instances, a small journal each, and clients that move.

Every client judges every frame (`replay_client`) against a list of all that was ever written
(`replay_world`); here it is said what happens, and which gaps have to be told because of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from bridge.core.sessions.registry import Interest
from bridge.core.sessions.session import Need
from tests.core.replay_crowd import CEILING, STEP, TOPICS, Crowd, Gaps, facts, some, which
from tests.core.replay_instance import LIMITS, Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.replay.catchup import Scan
    from bridge.core.sessions.session import Session
    from tests.core.replay_client import Client
    from tests.core.replay_world import Fact

keys = st.sampled_from(
    [*[("orders", 0)] * 3, ("orders", 1), ("orders", 2), ("news", 0), ("news", 1), ("young", 0)]
)
#: What a pass reads: of which partition, how many events at most, beginning how far before.
portions = st.lists(st.tuples(some, st.integers(1, 12), st.sampled_from([0, 0, 1, 3])), max_size=6)


class CatchUpMachine(Crowd):
    """Nobody misses anything without being told, or gets it twice, or out of order."""

    def of(self, sessions: set[Session]) -> Iterator[Client]:
        return (client for client in self.clients if client.session in sessions)

    def following(self, at: Instance, topic: str, state: str) -> Iterator[Client]:
        for client in self.clients:
            if client.at is at and client.state == state and topic in client.asked.topics:
                yield client

    # -- Kafka -------------------------------------------------------------------------------------

    @rule(
        made=st.lists(
            st.tuples(keys, st.lists(facts, min_size=2, max_size=8)), min_size=2, max_size=5
        ),
        hole=st.integers(0, 2),
        readers=st.sampled_from([[0], [0, 1], [1], []]),
    )
    def publish(
        self, made: list[tuple[tuple[str, int], list[Fact]]], hole: int, readers: list[int]
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
                there.young = min(there.end, there.young + much)
            case "damaged":
                there.damage(max(there.start, there.end - back), much)
            case "cut off":
                self.cut_off(key, max(0, there.end - much))
            case "added":
                self.world.add_partition(key[0])

    def cut_off(self, key: tuple[str, int], end: int) -> None:
        """An unclean election, which every instance sees before anything is written again."""
        topic, partition = key
        self.world.partition(*key).cut_off(end)
        gaps: Gaps = {}
        for at in self.at:
            if at.knows(*key) and at.place(topic).offsets[partition] > end:
                for client in self.following(at, topic, "live"):
                    gaps[client] = {topic: "truncated"}
                for client in self.following(at, topic, "replaying"):
                    if not client.is_other(topic) and client.place(topic, partition) > end:
                        gaps[client] = {topic: "truncated"}
                at.hub.skip(topic, "truncated", {partition: end})
        self.look(gaps)

    # -- the feeds ---------------------------------------------------------------------------------

    @rule(at=which, key=keys, most=st.integers(1, 50))
    def read(self, at: int, key: tuple[str, int], most: int) -> None:
        it, (topic, partition) = self.at[at], key
        if not it.knows(*key):
            self.see_topic(it, topic)
        elif obstacle := it.obstacle(*key, it.place(topic).offsets[partition]):
            lost = list(self.following(it, topic, "live"))
            it.read(*key, most)
            self.look({client: {topic: obstacle[0]} for client in lost})
        else:
            it.read(*key, most)
            self.look()

    def see_topic(self, it: Instance, topic: str) -> None:
        there, mine = self.world.topics.get(topic), it.place(topic).identity
        gaps: Gaps = {}
        if there is not None and mine not in {b"", there.identity}:
            for client in self.following(it, topic, "live"):
                gaps[client] = {topic: "recreated"}
            for client in self.following(it, topic, "replaying"):
                if client.places[topic].identity != there.identity:
                    gaps[client] = {topic: "recreated"}
        it.look(topic)
        self.look(gaps)

    # -- catching up -------------------------------------------------------------------------------

    @precondition(lambda self: any(it.state == "replaying" for it in self.clients))
    @rule(index=some, often=st.integers(1, 3))
    def step(self, index: int, often: int) -> None:
        for _ in range(often):
            if client := self.pick(index, lambda it: it.state == "replaying"):
                need = self.take_step(client)
                if need is Need.KAFKA and client.is_unjudged:
                    self.pass_judgement(client)

    def take_step(self, client: Client) -> Need:
        others = {topic for topic in client.asked.topics if client.is_other(topic)}
        replayed = client.replayed
        replay, session = client.session.replay, client.session
        assert replay is not None
        need = client.at.catch_up.step(session)
        self.look({client: dict.fromkeys(others, "recreated")})
        assert (need is Need.NOTHING) == (client.state == "live")
        assert client.replayed - replayed <= STEP
        match need:
            case Need.ROOM:
                assert session.outbox.pending >= CEILING // 2
            case Need.KAFKA:
                assert client.missing() or (client.is_ahead() and not replay.judged)
        assert client.at.catch_up.missing(session) == (
            client.missing() if client.state == "replaying" else {}
        )
        return need

    def pass_judgement(self, client: Client) -> bool:
        topics = client.asked.topics
        bounds = {topic: self.world.bounds(topic) for topic in topics}
        fits = all(bounds[t].identity in {None, client.at.place(t).identity} for t in topics)
        gaps = client.verdict(LIMITS.records) if fits else {}
        assert client.at.catch_up.judge(client.session, bounds) == fits
        self.look({client: gaps})
        return fits

    @precondition(lambda self: any(it.needs_kafka for it in self.clients))
    @rule(index=some, together=st.booleans(), late=st.booleans(), read=portions)
    def open_pass(
        self, index: int, together: bool, late: bool, read: list[tuple[int, int, int]]
    ) -> None:
        """Let one who needs it, or all, enter a pass that fits, or share a new one."""
        first = self.pick(index, lambda it: it.needs_kafka)
        assert first is not None
        at, group = first.at, [first.session]
        if together:
            group = [it.session for it in self.clients if it.at is at and it.needs_kafka]
        for scan in at.scans if late else ():
            for session in group:
                if session.home is None and at.catch_up.fits(scan, session):
                    at.catch_up.enter(scan, session)
        group = [session for session in group if session.home is None]
        if group and len(at.scans) < 2:
            at.open(group)
        self.look()
        if at.scans:
            self.go_on_by(at, at.scans[-1], read)

    @precondition(lambda self: any(at.scans for at in self.at))
    @rule(at=which, index=some, read=portions, end=st.sampled_from([False, False, True]))
    def pass_on(self, at: int, index: int, read: list[tuple[int, int, int]], end: bool) -> None:
        it = self.at[at] if self.at[at].scans else self.at[1 - at]
        scan = it.scans[index % len(it.scans)]
        self.go_on_by(it, scan, read)
        if end:
            it.close(scan)
            self.look()

    def go_on_by(self, it: Instance, scan: Scan, read: list[tuple[int, int, int]]) -> None:
        for key, most, back in read:
            if wanted := it.wanted(scan):
                self.go_on(it, scan, wanted[key % len(wanted)], most, back)

    def go_on(self, it: Instance, scan: Scan, key: tuple[str, int], most: int, back: int) -> None:
        topic, partition = key
        gaps: Gaps = {}
        obstacle = it.obstacle(*key, scan.next[key]) if it.knows(*key) else None
        if obstacle and obstacle[0] == "corrupt":
            for client in self.of(scan.interest.everybody):
                follows = topic in client.asked.topics
                if follows and client.place(topic, partition) == scan.next[key]:
                    gaps[client] = {topic: "corrupt"}
        it.pass_on(scan, key, most, back)
        self.look(gaps)
        for session in it.catch_up.spent(scan):
            (client,) = self.of({session})
            it.catch_up.limit(session)
            self.look({client: {topic: "limit" for topic, _ in client.missing()}})

    # -- always ------------------------------------------------------------------------------------

    @invariant()
    def whoever_is_served_is_served_by_one(self) -> None:
        for at in self.at if hasattr(self, "at") else ():
            served = [session for scan in at.scans for session in scan.interest.everybody]
            assert len(served) == len(set(served))
            for client in self.clients:
                if client.at is at:
                    homes = [at.hub.interest, *(scan.interest for scan in at.scans)]
                    there = [home for home in homes if client.session in home.everybody]
                    assert there == ([client.session.home] if client.session.home else [])

    def teardown(self) -> None:
        if hasattr(self, "at"):
            try:
                self.bring_all_up()
            finally:
                self.patch.stop()

    def bring_all_up(self) -> None:
        """Whatever has happened, everybody who is still there gets up to now in the end."""
        for number, at in enumerate(self.at):
            for scan in tuple(at.scans):
                at.close(scan)
            for topic in TOPICS:
                self.see_topic(at, topic)
                for partition in tuple(at.place(topic).offsets):
                    end = self.world.partition(topic, partition).end
                    while at.place(topic).offsets[partition] < end:
                        self.read(number, (topic, partition), 50)
            for client in [each for each in self.clients if each.at is at]:
                self.bring_up(client)
        for client in self.clients:
            client.at.hub.detach(client.session)
        for at in self.at:
            assert vars(at.hub.interest) == vars(Interest())
            assert (at.hub.replaying, at.hub.journal._stretches) == (set(), [])

    def bring_up(self, client: Client) -> None:
        for _ in range(300):
            if client.state != "replaying":
                return
            client.session.outbox.clear()
            client.waited = 0
            need = self.take_step(client)
            if need is Need.KAFKA:
                if not client.needs_kafka:
                    assert self.pass_judgement(client)
                if client.needs_kafka:
                    client.at.open([client.session])
                    (scan,) = client.at.scans
                    while scan.interest.everybody and (wanted := client.at.wanted(scan)):
                        client.session.outbox.clear()
                        client.waited = 0
                        self.go_on(client.at, scan, wanted[0], 9, 0)
                    client.at.close(scan)
                    self.look()
        raise AssertionError("never live")


CatchUpMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestCatchUp = CatchUpMachine.TestCase
