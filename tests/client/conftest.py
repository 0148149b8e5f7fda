"""Hypothesis runs here as it does for the core: the same examples each time, and no deadline."""

from __future__ import annotations

from tests.core import conftest

__all__ = ["conftest"]
