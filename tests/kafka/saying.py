"""A herald whose words are written down instead of being written to Kafka, on a clock of a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.coordination.presence import Herald
from bridge.coordination.topics import Own
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Alive, Gone, Present
from bridge.core.protocol import timestamps
from tests.core.given import hub, record

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import Fact

OWN = Own("push-bridge")
NOON = 1_795_262_400.0


class Said(NamedTuple):
    """What the herald wants to be written."""

    topic: str
    key: bytes | None
    value: bytes | None


class Notebook:
    """A scribe that writes nothing: `said` has all that it was told, in order."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    def fact(self, topic: str, key: bytes, value: bytes | None) -> None:
        assert topic == OWN.state
        self.said.append(Said(topic, key, value))

    def notice(self, topic: str, key: bytes | None, value: bytes) -> None:
        assert topic == OWN.lifecycle
        self.said.append(Said(topic, key, value))

    def take(self) -> list[Said]:
        said, self.said = self.said, []
        return said


class Speaker:
    """A herald of a hub; what it says comes back to it when a test lets it."""

    def __init__(self, *, ready: bool = True) -> None:
        self.now = NOON
        self.hub = hub()
        self.notebook = Notebook()
        self.herald = self._herald(ready=ready)
        self.unread: list[Fact | Gone] = []

    def _herald(self, *, ready: bool) -> Herald:
        scribe: Any = self.notebook
        return Herald(self.hub, scribe, OWN, ready=lambda: ready, wall=lambda: self.now)

    def alive(self, seconds: float = 0.0, boot: str | None = None, since: float = NOON) -> Alive:
        """What it said of itself so many seconds ago."""
        began, told = (timestamps.from_ms(int(at * 1000)) for at in (since, self.now - seconds))
        return Alive(self.hub.instance, boot or self.herald.boot, began, told)

    def echo(self, seconds: float = 0.0) -> None:
        """Let it hear what it said of itself so many seconds ago."""
        self.herald.hear(self.alive(seconds))

    def tell(self) -> list[str]:
        """Let it look who is there, and return what it says."""
        self.herald.tell_changes()
        return self.words()

    def words(self) -> list[str]:
        """What it has said since, in short."""
        return [brief(each) for each in self.notebook.take()]


def brief(said: Said) -> str:
    """What `said` says: `connected c1`, `disconnected c1 4504`, `+connection,c1`."""
    key = (said.key or b"").decode()
    if said.topic == OWN.state:
        return f"{'-' if said.value is None else '+'}{key}"
    notice = json.loads(said.value or b"")
    code = notice["data"].get("code")
    words = [notice["type"], notice["data"]["connection"], *([] if code is None else [str(code)])]
    return " ".join(words)


def fact(said: Said) -> Fact | Gone:
    """What `said`, of the state topic, says to whoever reads it."""
    return state_records.read(record(said.value)._replace(key=said.key))


def presents(said: list[Said]) -> list[Present]:
    """Those who are said to be connected."""
    state = (each for each in said if each.topic == OWN.state)
    return [it for it in map(fact, state) if isinstance(it, Present)]
