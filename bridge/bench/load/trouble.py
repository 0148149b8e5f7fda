"""What ends a measurement: a sentence, and whose it is to change.

Rule: the sentence names what to change, an option, a setting or a limit of the system.
"""

from __future__ import annotations


class Trouble(Exception):
    """Something is wrong: an option or a setting with `code` 2, something outside with 1."""

    def __init__(self, sentence: str, *, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code
