"""Long lists, a page at a time.

Rule: a list is in the order of its names, and a page says after which name the next one begins; so
what is there all the time is listed once, whatever comes and goes meanwhile.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import HTTPException
from pydantic import Field

from bridge.web.api.queries import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL: Final = 100
MOST: Final = 1_000
#: Names that are looked at without a break.
PORTION: Final = 2_000


class Paged(Strict):
    """Which part of a list is asked for."""

    limit: Annotated[int, Field(ge=1, le=MOST, description="So many at most.")] = USUAL
    page: Annotated[str | None, Field(description="The last answer's `next`.")] = None

    async def cut(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """Return the names that are on this page, and what the next one is asked for by.

        It looks at some of `names` at a time, and lets others have their turn between.

        Raises:
            HTTPException: 400 if `page` is none that was ever given.
        """
        after = "" if self.page is None else _read(self.page)
        found: list[str] = []
        rest = iter(names)
        while some := list(islice(rest, PORTION)):
            found = sorted({*found, *(name for name in some if name > after)})[: self.limit + 1]
            await asyncio.sleep(0)
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
