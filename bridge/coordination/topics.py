"""The bridge's own topics: what they are called, how they are kept, and that they are there.

Rule: they are created where they are missing, and never changed where they are there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bridge.kafka.client.client import CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.kafka.client.client import Access, Cluster

_log = logging.getLogger(__name__)

_COPIES: Final = 3
_RETRY_SECONDS: Final = 2.0
_HOUR_MS: Final = 3_600_000
#: One partition each: what is in them is in order.
_PARTITIONS: Final = 1
_KEPT: Final = {
    "control": {"retention.ms": str(_HOUR_MS)},
    "state": {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": str(_HOUR_MS),
        "delete.retention.ms": str(24 * _HOUR_MS),
    },
    "lifecycle": {"retention.ms": str(24 * _HOUR_MS)},
    "dead-letters": {"retention.ms": str(7 * 24 * _HOUR_MS)},
}


class Own(NamedTuple):
    """The names of the bridge's own topics and groups."""

    prefix: str

    @property
    def control(self) -> str:
        """Commands for every instance."""
        return f"{self.prefix}.control"

    @property
    def state(self) -> str:
        """What outlives an instance."""
        return f"{self.prefix}.state"

    @property
    def lifecycle(self) -> str:
        """What backends are told of clients."""
        return f"{self.prefix}.lifecycle"

    @property
    def dead_letters(self) -> str:
        """Records that could not be used."""
        return f"{self.prefix}.dead-letters"

    @property
    def duties(self) -> str:
        """The group whose one member with the partition of `state` is on duty."""
        return f"{self.prefix}.duties"


async def create(cluster: Cluster, access: Access, own: Own) -> None:
    """Create what is missing, however long it takes until that is possible.

    Cancellation: safe.
    """
    wanted = {f"{own.prefix}.{kind}": configs for kind, configs in _KEPT.items()}
    said = ""
    while True:
        try:
            missing = wanted.keys() - (await cluster.describe(wanted)).keys()
            if not missing:
                return
            copies = min(_COPIES, cluster.brokers)
            await _create(access, {name: wanted[name] for name in missing}, copies)
        except CUT_OFF as error:
            if said != repr(error):
                said = repr(error)
                names = ", ".join(sorted(wanted))
                _log.error(
                    "the bridge's own topics can not be created, will keep trying: %s"
                    " (create %s yourself, or allow it)",
                    error,
                    names,
                )
            await asyncio.sleep(_RETRY_SECONDS)


async def _create(access: Access, topics: dict[str, dict[str, str]], copies: int) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=access.bootstrap_servers, **access.options)
    await client.start()
    try:
        new = [
            NewTopic(name, _PARTITIONS, copies, topic_configs=configs)
            for name, configs in topics.items()
        ]
        answer = await client.create_topics(new)
        for name, code in _codes(answer.topic_errors):
            if code not in {0, errors.TopicAlreadyExistsError.errno}:
                raise errors.for_code(code)(name)
            _log.info("created the topic %s", name)
    finally:
        await client.close()


def _codes(told: Iterable[Any]) -> Iterable[tuple[str, int]]:
    return ((each[0], each[1]) for each in told)
