"""The load jobs that scenarios share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.load.job import BenchError, LoadJob

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement


def build_job(measurement: Measurement, **fields: Any) -> LoadJob:  # noqa: ANN401
    """Return a job for all clients of the plan; `fields` are further ones of `LoadJob`."""
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
    """Return a job in which each client has its own account and sequence.

    Raises:
        BenchError: If the plan has one token, so one account, for all clients.
    """
    if measurement.plan.token is not None:
        raise BenchError(
            f"{measurement.plan.scenario} needs an account for each connection, but --token is one"
            " account for all: measure with BRIDGE_AUTH__MODE=none and without --token",
            exit_code=2,
        )
    return build_job(measurement, has_private_events=True)
