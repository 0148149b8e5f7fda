"""Long lists of `/v1`, a page at a time: whatever comes and goes, what stays is listed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.registry import LISTS, Caller, Registry, calling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def at(registry: Registry) -> AsyncIterator[Caller]:
    async with calling(registry) as caller:
        yield caller


def names(items: list[dict[str, Any]], field: str = "id") -> list[str]:
    return [item[field] for item in items]


def fill(registry: Registry, many: int) -> list[str]:
    names = [f"n{number}" for number in range(many)]
    for number, name in enumerate(names):
        registry.runs(name)
        registry.reads(name)
        (registry.here if number % 2 else registry.elsewhere)(name, rooms=[name])
    return sorted(names)


@pytest.mark.parametrize(("path", "field"), LISTS.items())
async def test_a_list_is_told_in_pages(
    at: Caller, registry: Registry, path: str, field: str
) -> None:
    assert await at.ask(path) == {"items": [], "next": None}
    all = fill(registry, 7)
    for limit in (1, 2, 3, 7, 8, 1000):
        pages = await at.pages(path, limit)
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert pages[-1]
        assert [name for page in pages for name in names(page, field)] == all


async def test_a_page_has_a_hundred_unless_more_are_asked_for(
    at: Caller, registry: Registry
) -> None:
    fill(registry, 101)
    for path in LISTS:
        assert len((await at.ask(path))["items"]) == 100
        assert len((await at.ask(path, limit=101))["items"]) == 101


async def test_what_is_there_all_the_time_is_listed_once_whatever_comes_and_goes(
    at: Caller, registry: Registry
) -> None:
    for name in ("b", "d", "f", "h"):
        registry.here(name)
    first = await at.ask("connections", limit=2)
    assert names(first["items"]) == ["b", "d"]
    registry.hub.detach(registry.hub.crowd.sessions["d"])
    registry.hub.detach(registry.hub.crowd.sessions["b"])
    for name in ("a", "c", "e"):
        registry.here(name)
    second = await at.ask("connections", limit=2, page=first["next"])
    assert names(second["items"]) == ["e", "f"]
    third = await at.ask("connections", limit=2, page=second["next"])
    assert (names(third["items"]), third["next"]) == (["h"], None)


async def test_pages_go_with_filters(at: Caller, registry: Registry) -> None:
    for number in range(6):
        registry.here(f"c{number}", "ann" if number % 2 else "bob")
    pages = await at.pages("connections", 2, account="ann")
    assert [names(page) for page in pages] == [["c1", "c3"], ["c5"]]


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_that_was_never_given_is_a_400(at: Caller, path: str) -> None:
    for page in ("", "x", "!!!!", "/w", "YQ==", "YR", "YQ\n", "é", "YQ.", "7aCA"):
        assert (await at.ask(path, 400, page=page))["detail"].startswith("page: "), page


@pytest.mark.parametrize("path", LISTS)
async def test_a_wrong_or_unknown_parameter_is_a_422_that_names_it(at: Caller, path: str) -> None:
    for limit in ("0", "-1", "1001", "ten", "", "1.5"):
        assert (await at.ask(path, 422, limit=limit))["detail"].startswith("limit: "), limit
    for name in ("acount", "offset"):
        assert (await at.ask(path, 422, **{name: "ann"}))["detail"].startswith(f"{name}: ")
    for twice in (["5", "5"], ["5", "7"]):
        assert (await at.ask(path, 422, limit=twice))["detail"] == "limit: given twice"
