"""A newer grant for a session that is live.

Rule: what the newer one does not cover ends at once and is told; what it covers more has to be
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.protocol import frames
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.permissions import Grant
    from bridge.core.sessions.session import Session


def regrant(hub: Hub, session: Session, grant: Grant, id: frames.Id) -> None:
    """Replace the grant of a live `session` by one of the same account; answer with what is left.

    Rooms that the backend gave stay: their grant is the backend's own.
    """
    session.grant = grant
    topics = [topic for topic in session.topics if not hub.may_read(session, topic)]
    rooms = [room for room in session.rooms if not grant.may_join(room)]
    hub.unfollow(session, topics, rooms)
    left = sorted(room for room in rooms if room not in session.rooms)
    if left:
        hub.moved(session, [], left)
    hub.done(session, id)
