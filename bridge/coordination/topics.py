"""Names, configuration and creation of the bridge's own topics.

Rule: missing topics are created. Existing ones are never changed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bridge.kafka.client.client import CLIENT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.kafka.client.client import KafkaAccess, KafkaClient

_log = logging.getLogger(__name__)

_MAX_REPLICATION_FACTOR: Final = 3
_RETRY_SECONDS: Final = 2.0
#: A controller that moves is elected within some seconds.
_TRIES_WITHOUT_CONTROLLER: Final = 5
_HOUR_MS: Final = 3_600_000
#: One partition each, so that all records of a topic are in order.
_PARTITION_COUNT: Final = 1
_TOPIC_CONFIGS: Final = {
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


class BridgeTopics(NamedTuple):
    """Names of the bridge's own topics and groups."""

    prefix: str

    @property
    def control(self) -> str:
        """The topic of commands for all instances."""
        return f"{self.prefix}.control"

    @property
    def state(self) -> str:
        """The compacted topic of everything that outlives an instance."""
        return f"{self.prefix}.state"

    @property
    def lifecycle(self) -> str:
        """The topic from which backends read who connects and disconnects."""
        return f"{self.prefix}.lifecycle"

    @property
    def dead_letters(self) -> str:
        """The topic of unusable records. Also the group that commits which are written."""
        return f"{self.prefix}.dead-letters"

    @property
    def duties(self) -> str:
        """The group that elects the leader. Also the transactional id of the leader."""
        return f"{self.prefix}.duties"


class CannotCreateTopics(Exception):
    """The brokers name no controller, so nobody can create the bridge's own topics."""


async def create_topics(client: KafkaClient, access: KafkaAccess, topics: BridgeTopics) -> None:
    """Create the missing topics. Retry until all exist.

    Raises:
        CannotCreateTopics: If the brokers name no controller for some seconds, as that of `dev`.

    Cancellation: safe.
    """
    without_controller = 0
    required = {f"{topics.prefix}.{kind}": configs for kind, configs in _TOPIC_CONFIGS.items()}
    last_error = ""
    while True:
        try:
            missing = required.keys() - (await client.describe_topics(required)).keys()
            if not missing:
                return
            replication_factor = min(_MAX_REPLICATION_FACTOR, client.broker_count)
            await _create_missing_topics(
                access, {name: required[name] for name in missing}, replication_factor
            )
        except CannotCreateTopics:
            without_controller += 1
            if without_controller == _TRIES_WITHOUT_CONTROLLER:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
        except CLIENT_ERRORS as error:
            without_controller = 0
            if last_error != repr(error):
                last_error = repr(error)
                _log_failure(", ".join(sorted(required)), error)
            await asyncio.sleep(_RETRY_SECONDS)


def _log_failure(names: str, error: Exception) -> None:
    """Name the remedy only where retrying does not help."""
    if isinstance(error, OSError) or getattr(error, "retriable", False):
        _log.warning("cannot create the bridge's own topics yet, retrying error=%s", error)
        return
    _log.error(
        "cannot create the bridge's own topics, retrying: create them yourself, or"
        " allow this client to create topics topics=%s error=%s",
        names,
        error,
    )


async def _create_missing_topics(
    access: KafkaAccess, topics: dict[str, dict[str, str]], replication_factor: int
) -> None:
    admin_client = AIOKafkaAdminClient(bootstrap_servers=access.bootstrap_servers, **access.options)
    await admin_client.start()
    try:
        new_topics = [
            NewTopic(name, _PARTITION_COUNT, replication_factor, topic_configs=configs)
            for name, configs in topics.items()
        ]
        try:
            response = await admin_client.create_topics(new_topics)
        except AttributeError:  # aiokafka, of a cluster without a controller
            raise CannotCreateTopics(
                f"Kafka at {access.bootstrap_servers} has no controller, so the topics"
                f" {', '.join(sorted(topics))} cannot be created; the broker of `dev` never has"
                " one: use the prefix of its bridge (BRIDGE_KAFKA__PREFIX), or another Kafka"
            ) from None
        for name, code in _error_codes(response.topic_errors):
            if code not in {0, errors.TopicAlreadyExistsError.errno}:
                raise errors.for_code(code)(name)
            _log.info("created a topic topic=%s", name)
    finally:
        await admin_client.close()


def _error_codes(topic_errors: Iterable[Any]) -> Iterable[tuple[str, int]]:
    return ((topic_error[0], topic_error[1]) for topic_error in topic_errors)
