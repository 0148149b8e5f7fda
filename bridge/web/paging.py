"""Long lists, a page at a time.

Rule: a list is in the order of its names, and a page says after which name the next one begins; so
what is there all the time is listed once, whatever comes and goes meanwhile.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from heapq import nsmallest
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import HTTPException
from pydantic import Field

from bridge.web.queries import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL: Final = 100
MOST: Final = 1_000


class Paged(Strict):
    """Which part of a list is asked for."""

    limit: Annotated[int, Field(ge=1, le=MOST, description="So many at most.")] = USUAL
    page: Annotated[str | None, Field(description="The last answer's `next`.")] = None

    def cut(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """Return the names that are on this page, and what the next one is asked for by.

        Raises:
            HTTPException: 400 if `page` is none that was ever given.
        """
        if self.page is not None:
            after = _read(self.page)
            names = (name for name in names if name > after)
        found = nsmallest(self.limit + 1, names)
        if len(found) <= self.limit:
            return found, None
        return found[:-1], _write(found[-2])


def _write(name: str) -> str:
    return urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def _read(page: str) -> str:
    try:
        name = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
    except ValueError:
        name = ""
    if not name or _write(name) != page:
        raise HTTPException(400, "page: not the `next` of an answer")
    return name
