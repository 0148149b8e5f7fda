"""Chaos: faults by seed on a real cluster under load, and a check of the contract's promises.

`python -m tests.chaos --help` runs it by hand; the suite plays one short story.
"""
