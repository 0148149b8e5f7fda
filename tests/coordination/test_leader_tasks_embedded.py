"""The writes of the leader to the embedded broker, which has no transactions."""

from __future__ import annotations

from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence, InstanceHeartbeat, Membership
from bridge.kafka.client.client import KafkaAccess
from bridge.kafka.client.embedded import EmbeddedBroker
from tests.coordination.leader_instance import (
    leading,
    make_dead_letter,
    running_instance,
    wait_until_idle,
    write_state_records,
)
from tests.core.state_record_factories import SINCE
from tests.kafka.held_replays import wait_until

OWN = BridgeTopics("push-bridge")


async def test_the_embedded_broker_is_written_without_transactions() -> None:
    broker = EmbeddedBroker([OWN.state, OWN.lifecycle, OWN.dead_letters, OWN.control])
    access = KafkaAccess(
        broker.bootstrap_servers, {"client_id": "t"}, may_create_topics=True, fetch_wait_ms=10
    )
    async with running_instance(access, OWN) as it, leading(it):
        here = ConnectionPresence("c1", "i1", "b1", "ann", "", SINCE, ["hall"])
        await write_state_records(
            broker.bootstrap_servers, OWN, InstanceHeartbeat("i1", "b1", SINCE, SINCE), here
        )
        it.dead_letters.keep(make_dead_letter(OWN.state, 0))
        member = Membership("ann", "hall")
        it.leader_tasks.queue_state_update(
            3, state_records.record_key(member), state_records.encode(member)
        )
        await wait_until(lambda: it.presence.published_occupied == {("room", "hall")})
        await wait_until_idle(it)
        await wait_until(lambda: it.leader_tasks._checkpoint_offset == 4)
        assert it.leader_tasks.dead_letters_written == 1
