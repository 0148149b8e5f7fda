"""What is the same in every scenario's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.load.job import Job, Trouble

if TYPE_CHECKING:
    from bridge.bench.stage import Stage


def job(stage: Stage, **more: Any) -> Job:  # noqa: ANN401 - a job's own fields
    """Return the job of all clients."""
    plan = stage.plan
    return Job(
        stage.run,
        plan.targets,
        plan.connections,
        topic=plan.topic,
        account=plan.account,
        token=plan.token,
        sources=plan.sources,
        **more,
    )


def accounts_of_their_own(stage: Stage) -> Job:
    """Return the job of clients of which each is another account.

    Raises:
        Trouble: If they have one token, and so one account.
    """
    if stage.plan.token is not None:
        raise Trouble(
            f"{stage.plan.scenario} needs an account for each connection, and --token is one for"
            " all: measure with BRIDGE_AUTH__MODE=none",
            code=2,
        )
    return job(stage, own=True)
