"""What is asked for behind the `?` of a call of `/v1`.

Rule: what is not known, or said twice, is refused: who has misspelt a filter would else be told of
everybody.
"""

from __future__ import annotations

from collections import Counter

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Parameters that are all that may be given."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def each_once(request: Request) -> None:
    """Check that no parameter is given twice.

    Raises:
        HTTPException: 422 if one is.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in given.items():
        if count > 1:
            raise HTTPException(422, f"{name[:100]}: given twice")
