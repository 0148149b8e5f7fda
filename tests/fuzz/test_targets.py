"""Each target takes its seeds, and whatever Hypothesis makes of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_parser(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.run(seed)

    @given(st.sampled_from(target.seeds), st.integers(0, 200), st.binary(max_size=40))
    def try_mutated(seed: bytes, place: int, inserted: bytes) -> None:
        target.run(seed[:place] + inserted + seed[place:])
        target.run(seed[:place] + inserted + seed[place + len(inserted) :])
        target.run(inserted)

    try_mutated()
