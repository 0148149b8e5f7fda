"""Both client libraries do what every client has to: each scenario, played with each driver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.conftest import DRIVERS
from tests.conformance.scenario import FOLDER

if TYPE_CHECKING:
    from tests.conformance.__main__ import Outcome
    from tests.conformance.conftest import Verdicts

each = pytest.mark.parametrize(
    "scenario", sorted(FOLDER.glob("*.json")), ids=lambda path: str(path.stem)
)


def judge(outcome: Outcome) -> None:
    if outcome.lacks:
        pytest.skip(f"this client does not: {', '.join(sorted(outcome.lacks))}")
    assert outcome.why is None, f"{outcome.scenario.about}\n{outcome.why}"


@each
def test_python_does(scenario: Path, verdicts: Verdicts) -> None:
    judge(verdicts("python")[scenario.stem])


@pytest.mark.node
@each
def test_javascript_does(scenario: Path, verdicts: Verdicts) -> None:
    if not Path(DRIVERS["javascript"][-1]).exists():
        pytest.skip("the JavaScript client has no driver here: drive_javascript.mjs")
    judge(verdicts("javascript")[scenario.stem])
