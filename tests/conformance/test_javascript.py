"""The JavaScript client does what every client must do.

Its scenarios are a file of their own: they are played at once, and those of Python beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.conftest import check_outcome, scenarios_for

if TYPE_CHECKING:
    from tests.conformance.conftest import OutcomesByDriver


@pytest.mark.node
@scenarios_for("javascript")
def test_javascript_does(scenario: str, verdicts: OutcomesByDriver) -> None:
    check_outcome(verdicts("javascript")[scenario])
