"""Topics that come, go and change while clients are connected.

Rules: whoever followed a topic that went, or may no longer read it, gets the gap `removed` and
nothing more of it. Records of a changed topic are delivered by its new rules, replayed ones too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.sessions.positions import TopicPosition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


def add_topic(hub: Hub, topic: str, *, is_private: bool, is_on_demand: bool) -> None:
    """Let clients name `topic`. It is idle until it is read (`Hub.set_start_offsets`)."""
    position = hub.topic_positions[topic] = TopicPosition(topic, is_private=is_private)
    position.deactivate(b"")
    if is_on_demand:
        hub.on_demand.add_topic(topic)


def remove_topics(hub: Hub, topics: Collection[str]) -> None:
    """Forget `topics`, with their journal, and send their followers a gap."""
    for session in hub.all_sessions():
        _drop_topics(hub, session, topics)
    for topic in topics:
        hub.counters.gaps_by_reason["removed"] += 1
        hub.on_demand.remove_topic(topic)
        hub.journal.remove_topic(topic)
        del hub.topic_positions[topic]


def change_topic(hub: Hub, topic: str, *, is_private: bool, is_on_demand: bool) -> None:
    """Apply other properties of `topic`. Its journal is dropped: it holds what the old ones made.

    Pages of history in the making see that the position is another object, and begin anew.
    """
    position = hub.topic_positions[topic] = hub.topic_positions[topic].copy()
    position.is_private = is_private
    for partition, offset in position.next_offsets.items():
        hub.journal.reset_partition(topic, partition, offset)
    if is_on_demand and not hub.on_demand.has_topic(topic):
        followers = [session for session in hub.all_sessions() if topic in session.topics]
        hub.on_demand.add_topic(topic, followers)
    elif not is_on_demand:
        hub.on_demand.remove_topic(topic)
    for session in hub.all_sessions():
        if not hub.may_read(session, topic):
            _drop_topics(hub, session, (topic,))


def _drop_topics(hub: Hub, session: Session, topics: Iterable[str]) -> None:
    """Unsubscribe `session` from those of `topics` that it follows or waits for."""
    awaited = hub.on_demand.awaited_topics(session)
    lost = sorted(t for t in topics if t in session.topics or t in awaited)
    if not lost:
        return
    hub.unsubscribe(session, lost, ())
    if session.min_offsets is not None:
        session.min_offsets = {t: o for t, o in session.min_offsets.items() if t not in lost}
    if session.replay is not None and session.replay.scan_range is not None:
        for topic in lost:
            session.replay.scan_range.exclude(topic)
    hub.send_removed(session, lost)
