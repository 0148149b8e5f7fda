"""Rules for what instances agree on: commands, memberships, presence."""
