"""What the state topic may say: facts, as Hypothesis makes them and as tests write them."""

from __future__ import annotations

from hypothesis import strategies as st

from bridge.core.coordination.state_records import (
    Alive,
    Fact,
    Folded,
    Gone,
    Member,
    Occupied,
    Present,
    Revoked,
    Title,
)
from bridge.core.protocol import timestamps
from bridge.core.protocol.names import is_name
from tests.core.strategies import topics

BOOT = "4fcb6b1c2fa24ee9b9f0ad6bb3a2c0fd"
SINCE = "2026-11-18T11:06:40.123Z"

names = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",*"),
    min_size=1,
    max_size=200,
).filter(is_name)
times = st.integers(0, 2**45).map(timestamps.from_ms)
presents = st.builds(
    Present,
    id=names,
    instance=names,
    boot=names,
    account=st.none() | names,
    address=st.sampled_from(["", "192.0.2.7", "2001:db8::7"]),
    since=times,
    rooms=st.lists(names, unique=True, max_size=3),
    topics=st.lists(topics, unique=True, max_size=3),
    types=st.none() | st.lists(st.sampled_from(["order.*", "notice", "*"]), max_size=2),
)
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Member, names, names),
    st.builds(
        Title, names, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
    ),
    st.builds(Revoked, names, times),
    st.builds(Alive, names, names, times, times, st.integers(0, 10**6), st.booleans()),
    presents,
    st.builds(Occupied, st.just("room"), names),
    st.builds(Occupied, st.just("topic"), topics),
    st.builds(Folded, st.integers(0, 2**62)),
)


def present(
    id: str,
    rooms: tuple[str, ...] = (),
    topics: tuple[str, ...] = (),
    *,
    instance: str = "i1",
    boot: str = BOOT,
    account: str | None = "ann",
) -> Present:
    """Return the fact that a client is connected."""
    return Present(id, instance, boot, account, "192.0.2.7", SINCE, [*rooms], [*topics])


def alive(instance: str = "i1", boot: str = BOOT) -> Alive:
    """Return the fact that an instance runs."""
    return Alive(instance, boot, SINCE, SINCE)


def gone(id: str) -> Gone:
    """Return that a client is connected no more."""
    return Gone("connection", (id,))
