"""What is done about a record that can not be used: it is counted, and kept for the dead letters.

Rule: a record is dead once, under however many public names it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.coordination.dead_letters import letter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.coordination.dead_letters import Letters
    from bridge.coordination.telemetry import Casualties
    from bridge.core.protocol.router import Casualty


class Burial:
    """Takes the dead of `sources`: Kafka's topics, mapped to the public names."""

    def __init__(
        self, casualties: Casualties, letters: Letters, sources: Mapping[str, Sequence[str]]
    ) -> None:
        self.casualties = casualties
        self.letters = letters
        self._topics = {names[0]: topic for topic, names in sources.items()}
        self._more = {name for names in sources.values() for name in names[1:]}

    def bury(self, casualty: Casualty) -> None:
        """Count it, and keep a letter about it."""
        if casualty.topic not in self._more:
            self.casualties.count(casualty)
            self.letters.keep(letter(casualty, self._topics.get(casualty.topic, casualty.topic)))
