"""Coverage-guided fuzzing of everything that parses bytes from strangers, producers or Kafka.

`python -m tests.fuzz --help` runs it by hand; the suite tries each target with Hypothesis.
"""
