"""How Hypothesis runs here: the same examples each time, and no deadline on a busy machine.

`pytest tests/core --hypothesis-profile=explore` looks for new ones.
"""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("core", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=3000)
# To `python -m tests mutants` a failure is enough; making it small takes most of the time.
settings.register_profile(
    "mutants", settings.get_profile("core"), phases=[Phase.explicit, Phase.generate]
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("core")
