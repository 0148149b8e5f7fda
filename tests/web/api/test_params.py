"""Long lists of `/v1`, a page at a time: whatever comes and goes, what stays is listed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.directory_api import LIST_KEYS, DirectoryApiClient, DirectoryBackend, directory_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def registry() -> DirectoryBackend:
    return DirectoryBackend()


@pytest.fixture
async def at(registry: DirectoryBackend) -> AsyncIterator[DirectoryApiClient]:
    async with directory_api(registry) as caller:
        yield caller


def names(items: list[dict[str, Any]], field: str = "id") -> list[str]:
    return [item[field] for item in items]


def fill(registry: DirectoryBackend, many: int) -> list[str]:
    names = [f"n{number}" for number in range(many)]
    for number, name in enumerate(names):
        registry.add_instance(name)
        registry.add_topic(name)
        (registry.connect_here if number % 2 else registry.connect_elsewhere)(name, rooms=[name])
    return sorted(names)


@pytest.mark.parametrize(("path", "field"), LIST_KEYS.items())
async def test_a_list_is_told_in_pages(
    at: DirectoryApiClient, registry: DirectoryBackend, path: str, field: str
) -> None:
    assert await at.get(path) == {"items": [], "next": None}
    all = fill(registry, 7)
    for limit in (1, 2, 3, 7, 8, 1000):
        pages = await at.pages(path, limit)
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert pages[-1]
        assert [name for page in pages for name in names(page, field)] == all


async def test_a_page_has_a_hundred_unless_more_are_asked_for(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    fill(registry, 101)
    for path in LIST_KEYS:
        assert len((await at.get(path))["items"]) == 100
        assert len((await at.get(path, limit=101))["items"]) == 101


async def test_what_is_there_all_the_time_is_listed_once_whatever_comes_and_goes(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    for name in ("b", "d", "f", "h"):
        registry.connect_here(name)
    first = await at.get("connections", limit=2)
    assert names(first["items"]) == ["b", "d"]
    registry.hub.detach(registry.hub.registry.by_id["d"])
    registry.hub.detach(registry.hub.registry.by_id["b"])
    for name in ("a", "c", "e"):
        registry.connect_here(name)
    second = await at.get("connections", limit=2, page=first["next"])
    assert names(second["items"]) == ["e", "f"]
    third = await at.get("connections", limit=2, page=second["next"])
    assert (names(third["items"]), third["next"]) == (["h"], None)


async def test_pages_go_with_filters(at: DirectoryApiClient, registry: DirectoryBackend) -> None:
    for number in range(6):
        registry.connect_here(f"c{number}", "ann" if number % 2 else "bob")
    pages = await at.pages("connections", 2, account="ann")
    assert [names(page) for page in pages] == [["c1", "c3"], ["c5"]]


@pytest.mark.parametrize("path", LIST_KEYS)
async def test_a_page_that_was_never_given_is_a_400(at: DirectoryApiClient, path: str) -> None:
    for page in ("", "x", "!!!!", "/w", "YQ==", "YR", "YQ\n", "é", "YQ.", "7aCA"):
        assert (await at.get(path, 400, page=page))["detail"].startswith("page: "), page


@pytest.mark.parametrize("path", LIST_KEYS)
async def test_a_wrong_or_unknown_parameter_is_a_422_that_names_it(
    at: DirectoryApiClient, path: str
) -> None:
    for limit in ("0", "-1", "1001", "ten", "", "1.5"):
        assert (await at.get(path, 422, limit=limit))["detail"].startswith("limit: "), limit
    for name in ("acount", "offset"):
        assert (await at.get(path, 422, **{name: "ann"}))["detail"].startswith(f"{name}: ")
    for twice in (["5", "5"], ["5", "7"]):
        assert (await at.get(path, 422, limit=twice))["detail"] == "limit: given twice"
