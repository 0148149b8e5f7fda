"""What is written for all where there is only one, on the broker that developers have."""

from __future__ import annotations

from bridge.coordination.topics import Own
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Alive, Member, Present
from bridge.kafka.client.client import Access
from bridge.kafka.client.embedded import EmbeddedBroker
from tests.core.facts import SINCE
from tests.kafka.deputy import dead, idle, listening, on_duty, say
from tests.kafka.pacing import until

OWN = Own("push-bridge")


async def test_with_the_embedded_broker_all_is_written_without_transactions() -> None:
    broker = EmbeddedBroker([OWN.state, OWN.lifecycle, OWN.dead_letters, OWN.control])
    access = Access(
        broker.bootstrap_servers, {"client_id": "t"}, may_create_topics=True, fetch_wait_ms=10
    )
    async with listening(access, OWN) as it, on_duty(it):
        here = Present("c1", "i1", "b1", "ann", "", SINCE, ["hall"])
        await say(broker.bootstrap_servers, OWN, Alive("i1", "b1", SINCE, SINCE), here)
        it.letters.keep(dead(OWN.state, 0))
        member = Member("ann", "hall")
        it.steward.keep_lasting(3, state_records.key(member), state_records.write(member))
        await until(lambda: it.census.told == {("room", "hall")})
        await idle(it)
        await until(lambda: it.steward._folded == 4)
        assert it.steward.written_letters == 1
