"""Benchmarks of the hot path's parts, run by hand: `python -m tests.bench.NAME`.

Rule: what is compared is measured in one run, turn by turn, so that a machine whose speed moves
moves both; the answer is a ratio.
"""
