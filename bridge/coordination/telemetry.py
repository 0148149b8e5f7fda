"""What went wrong, counted by reason and logged without flooding."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.protocol.router import Casualty

_log = logging.getLogger(__name__)

MINUTE = 60.0


class Casualties:
    """Records that could not be used: counted by reason, logged once per reason and minute."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self._logged: dict[str, float] = {}

    def count(self, casualty: Casualty) -> None:
        """Count one; payloads are never logged."""
        topic, partition, record, dead = casualty
        self.by_reason[dead.reason] += 1
        now = time.monotonic()
        if now - self._logged.get(dead.reason, float("-inf")) >= MINUTE:
            self._logged[dead.reason] = now
            _log.warning(
                "%s: %s:%d:%d can not be used: %s (%d so far; said once a minute)",
                dead.reason,
                topic,
                partition,
                record.offset,
                dead,
                self.by_reason[dead.reason],
            )
