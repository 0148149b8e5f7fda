"""The core: what the bridge decides, with no input, output, clock or log.

Plain synchronous Python over values. Records and times come in as arguments; frames and
decisions go out as results. The two banks, `bridge.kafka` and `bridge.web`, do the waiting.
"""
