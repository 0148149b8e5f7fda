"""The core decides. It has no input, output, clock or log.

Plain synchronous Python over values. Records and times are arguments; frames and decisions are
results. `bridge.kafka` and `bridge.web` do everything that waits.
"""
