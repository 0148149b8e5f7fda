"""Through any failures each connection disconnects once, and rooms alternate."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.core.coordination.presence import INSTANCE_TIMEOUT_SECONDS, VACATED_AFTER_SECONDS
from tests.core.presence_simulation import (
    TICK_SECONDS,
    SimulatedInstance,
    SimulatedLeader,
    SimulatedTopics,
    compact,
)
from tests.tiers import example_count

NAMES = st.sampled_from(["i1", "i2"])
ROOMS = st.sampled_from([("hall",), ("hall",), (), ("yard",), ("hall", "yard")])
LAGS = st.sampled_from([0.0, TICK_SECONDS, 3 * TICK_SECONDS, 1.0])
WAITS = st.sampled_from(
    [0.0, TICK_SECONDS, 3 * TICK_SECONDS, 1.0, VACATED_AFTER_SECONDS, 4.0, 6.0, 12.0]
)
#: Until every change is published: a heartbeat, the timeouts, and the reads between them.
LONG = INSTANCE_TIMEOUT_SECONDS + VACATED_AFTER_SECONDS + 10


class _Nobody(SimulatedLeader):
    """No instance leads."""

    def publish_findings(self) -> None:
        """Do nothing."""


class PresenceMachine(RuleBasedStateMachine):
    """Two instances, and one of two leaders."""

    def __init__(self) -> None:
        super().__init__()
        self.topics = SimulatedTopics()
        self.instances: dict[str, SimulatedInstance] = {}
        self.boots = self.came = 0
        for name in ("i1", "i2"):
            self.start(name)
        self.leaders = [SimulatedLeader(self.topics), SimulatedLeader(self.topics)]

    def start(self, name: str) -> None:
        self.boots += 1
        self.instances[name] = SimulatedInstance(name, f"b{self.boots}", self.topics)

    def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_SECONDS)):
            self.topics.now_seconds += TICK_SECONDS
            for instance in self.instances.values():
                instance.tick()
            for leader in self.leaders:
                leader.read_state()
            self.leaders[0].publish_findings()

    @initialize(lag=LAGS)
    def reading_takes(self, lag: float) -> None:
        self.topics.lag_seconds = lag

    # -- clients -----------------------------------------------------------------------------------

    @rule(name=NAMES, rooms=ROOMS, after=WAITS)
    def come(self, name: str, rooms: tuple[str, ...], after: float) -> None:
        if name in self.instances and not self.instances[name].is_paused:
            self.came += 1
            self.instances[name].rooms_by_client[f"c{self.came}"] = rooms
        self.pass_by(after)

    @rule(name=NAMES, after=WAITS)
    def leave(self, name: str, after: float) -> None:
        if name in self.instances and (clients := self.instances[name].rooms_by_client):
            del clients[min(clients)]
        self.pass_by(after)

    @rule(name=NAMES, rooms=ROOMS, after=WAITS)
    def go_elsewhere(self, name: str, rooms: tuple[str, ...], after: float) -> None:
        if name in self.instances and (clients := self.instances[name].rooms_by_client):
            clients[max(clients)] = rooms
        self.pass_by(after)

    # -- instances ---------------------------------------------------------------------------------

    @rule(name=NAMES, after=WAITS)
    def kill_or_start(self, name: str, after: float) -> None:
        if self.instances.pop(name, None) is None:
            self.start(name)
        self.pass_by(after)

    @rule(name=NAMES, after=WAITS)
    def kill_and_start(self, name: str, after: float) -> None:
        self.start(name)
        self.pass_by(after)

    @rule(name=NAMES, after=WAITS)
    def pause_or_return(self, name: str, after: float) -> None:
        if name in self.instances:
            self.instances[name].is_paused = not self.instances[name].is_paused
        self.pass_by(after)

    # -- the leader --------------------------------------------------------------------------------

    @rule(fresh=st.booleans(), away=st.sampled_from([0.0, 1.0, INSTANCE_TIMEOUT_SECONDS]))
    def hand_over(self, fresh: bool, away: float) -> None:
        before = self.leaders[0]
        self.leaders[0] = _Nobody(self.topics)
        self.pass_by(away)
        self.leaders = [SimulatedLeader(self.topics) if fresh else self.leaders[1], before]
        self.leaders[0].become_leader()

    # -- invariants --------------------------------------------------------------------------------

    @invariant()
    def records_alternate(self) -> None:
        for about, lifecycle in self.topics.lifecycle_notices.items():
            kinds = ("connected", "disconnected")
            kinds = kinds if isinstance(about, str) else ("occupied", "vacated")
            assert lifecycle == [kinds[number % 2] for number in range(len(lifecycle))], about

    def teardown(self) -> None:
        for instance in self.instances.values():
            instance.is_paused = False
        self.pass_by(LONG)
        self.records_alternate()
        lifecycle = self.topics.lifecycle_notices
        connected_now = {
            id: rooms for it in self.instances.values() for id, rooms in it.rooms_by_client.items()
        }
        connected = {id for id, each in lifecycle.items() if each[-1] == "connected"}
        assert connected == connected_now.keys()
        occupied = {place for place, each in lifecycle.items() if each[-1] == "occupied"}
        assert occupied == {("room", room) for rooms in connected_now.values() for room in rooms}
        for leader in self.leaders:
            index = leader.census.index
            assert index.connections.keys() == connected_now.keys()
            assert index.instances.keys() == self.instances.keys()
        late = SimulatedLeader(self.topics)
        for entry in compact(self.topics):
            late.census.apply(entry.record, self.topics.now_seconds)
        assert not any(late.census.due_changes(self.topics.now_seconds))
        assert vars(late.census.index) == vars(self.leaders[0].census.index)
        assert (
            late.census.published_occupied == self.leaders[0].census.published_occupied == occupied
        )


PresenceMachine.TestCase.settings = settings(
    max_examples=example_count(150), stateful_step_count=30, deadline=None
)
TestCensus = PresenceMachine.TestCase
