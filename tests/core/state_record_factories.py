"""What the state topic may say: facts, as Hypothesis makes them and as tests write them."""

from __future__ import annotations

from hypothesis import strategies as st

from bridge.core.coordination.state_records import (
    Checkpoint,
    ConnectionPresence,
    InstanceHeartbeat,
    Membership,
    Occupancy,
    RoomTitle,
    StateRecord,
    TokenRevocation,
    Tombstone,
)
from bridge.core.protocol import timestamps
from bridge.core.protocol.names import is_valid_name
from tests.core.strategies import topics

BOOT = "4fcb6b1c2fa24ee9b9f0ad6bb3a2c0fd"
SINCE = "2026-11-18T11:06:40.123Z"

names = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",*"),
    min_size=1,
    max_size=200,
).filter(is_valid_name)
timestamp_texts = st.integers(0, 2**45).map(timestamps.ms_to_rfc3339)
present_records = st.builds(
    ConnectionPresence,
    id=names,
    instance=names,
    boot=names,
    account=st.none() | names,
    address=st.sampled_from(["", "192.0.2.7", "2001:db8::7"]),
    since=timestamp_texts,
    rooms=st.lists(names, unique=True, max_size=3),
    topics=st.lists(topics, unique=True, max_size=3),
    types=st.none() | st.lists(st.sampled_from(["order.*", "notice", "*"]), max_size=2),
)
any_state_record: st.SearchStrategy[StateRecord] = st.one_of(
    st.builds(Membership, names, names),
    st.builds(
        RoomTitle,
        names,
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    ),
    st.builds(TokenRevocation, names, timestamp_texts),
    st.builds(
        InstanceHeartbeat,
        names,
        names,
        timestamp_texts,
        timestamp_texts,
        st.integers(0, 10**6),
        st.booleans(),
    ),
    present_records,
    st.builds(Occupancy, st.just("room"), names),
    st.builds(Occupancy, st.just("topic"), topics),
    st.builds(Checkpoint, st.integers(0, 2**62)),
)


def present_record(
    id: str,
    rooms: tuple[str, ...] = (),
    topics: tuple[str, ...] = (),
    *,
    instance: str = "i1",
    boot: str = BOOT,
    account: str | None = "ann",
) -> ConnectionPresence:
    """Return the fact that a client is connected."""
    return ConnectionPresence(id, instance, boot, account, "192.0.2.7", SINCE, [*rooms], [*topics])


def alive_record(instance: str = "i1", boot: str = BOOT) -> InstanceHeartbeat:
    """Return the fact that an instance runs."""
    return InstanceHeartbeat(instance, boot, SINCE, SINCE)


def gone_record(id: str) -> Tombstone:
    """Return that a client is connected no more."""
    return Tombstone("connection", (id,))
