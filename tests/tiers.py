"""Which tier a test belongs to, and how many examples Hypothesis tries.

Rule: every test is in exactly one tier, and a program that only some machines have decides which.
This module does not run anything.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import Phase, settings

if TYPE_CHECKING:
    import pytest

TESTS: Final = Path(__file__).parent
#: From the quickest to the slowest.
TIERS: Final = ("fast", "kafka", "journey")
#: Markers of programs that only the journey tier starts.
JOURNEY_MARKERS: Final = ("browser", "java", "npm", "nginx", "prometheus", "curl", "wget")
#: Folders whose tests start the command, or a client, as a process of its own.
JOURNEY_FOLDERS: Final = tuple(TESTS / name for name in ("cli", "conformance", "journey"))
DAILY: Final = "daily"
MUTANTS: Final = "mutants"
#: The daily run tries this part of the nightly run's examples.
DAILY_PART: Final = 0.3


def tier_of(item: pytest.Item) -> str:
    """Return the tier of a collected test."""
    markers = {marker.name for marker in item.iter_markers()}
    if _is_of_a_journey(item.path.parent) or not markers.isdisjoint(JOURNEY_MARKERS):
        return "journey"
    return "kafka" if "kafka" in markers else "fast"


@cache  # thousands of tests are in a hundred folders
def _is_of_a_journey(folder: Path) -> bool:
    return not {folder, *folder.parents}.isdisjoint(JOURNEY_FOLDERS)


def register_hypothesis_profiles() -> None:
    """Load `daily`: the same examples each time, and no deadline on a busy machine.

    `pytest --hypothesis-profile=nightly` tries all examples, `explore` looks for new ones.
    """
    settings.register_profile("nightly", deadline=None, derandomize=True)
    nightly = settings.get_profile("nightly")
    settings.register_profile(DAILY, nightly, max_examples=round(100 * DAILY_PART))
    settings.register_profile("explore", deadline=None, max_examples=3000)
    # The daily run must kill every planted bug. Making a failure small takes most of the time.
    settings.register_profile(
        MUTANTS, settings.get_profile(DAILY), phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile(DAILY)


def example_count(nightly: int, daily_part: float = DAILY_PART) -> int:
    """Return how many examples a test tries now, which tries `nightly` in the nightly run."""
    is_daily = settings.get_current_profile_name() in {DAILY, MUTANTS}
    return round(nightly * daily_part) if is_daily else nightly
