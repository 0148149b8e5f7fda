"""The scenarios, one per module.

Rule: a scenario chooses its clients and its workload. `bench/stage.py` does everything else.
"""
