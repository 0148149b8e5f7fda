"""What can be measured, one scenario a module.

Rule: a scenario says which clients there are and what is done to them; everything else is the
stage's.
"""
