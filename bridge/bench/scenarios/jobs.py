"""What is the same in every scenario's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.load.job import BenchError, LoadJob

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement


def build_job(measurement: Measurement, **fields: Any) -> LoadJob:  # noqa: ANN401 - a job's own fields
    """Return the job of all clients."""
    plan = measurement.plan
    return LoadJob(
        measurement.run_id,
        plan.targets,
        plan.connections,
        topic=plan.topic,
        account_prefix=plan.account_prefix,
        token=plan.token,
        source_address_count=plan.source_address_count,
        **fields,
    )


def build_private_job(measurement: Measurement) -> LoadJob:
    """Return the job of clients of which each is another account.

    Raises:
        Trouble: If they have one token, and so one account.
    """
    if measurement.plan.token is not None:
        raise BenchError(
            f"{measurement.plan.scenario} needs an account for each connection, and --token is one for"
            " all: measure with BRIDGE_AUTH__MODE=none",
            exit_code=2,
        )
    return build_job(measurement, has_private_events=True)
