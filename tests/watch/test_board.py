"""The board: what Grafana takes, tidy, and made of metrics that there are."""

from __future__ import annotations

import copy
import json
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.watch import monitoring_queries
from tests.watch.monitoring_queries import (
    ADDED_LABELS,
    DASHBOARD,
    label_names,
    metric_names,
    panels,
    queries,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.watch.metrics_instance import MetricsInstance

ROWS = [
    *("Clients", "Events and latency", "Kafka and lag", "Replay and journal"),
    *("Dead letters and faults", "Process"),
]


def lost(before: Any, after: Any, at: str = "board") -> Iterator[str]:
    """What Grafana's models did not take, as they return what they know."""
    if isinstance(before, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{at}.{key}")
            else:
                yield f"{at}.{key}"
    elif isinstance(before, list):
        for number, value in enumerate(before):
            yield from lost(value, after[number], f"{at}[{number}]")
    elif before != after:
        yield at


def read(board: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


def test_grafanas_own_models_know_every_field() -> None:
    assert list(lost(DASHBOARD, read(DASHBOARD))) == []


def test_the_models_find_a_field_that_grafana_does_not_know() -> None:
    wrong = copy.deepcopy(DASHBOARD)
    wrong["panels"][2]["fieldConfig"]["defaults"]["units"] = "s"
    assert list(lost(wrong, read(wrong))) == ["board.panels[2].fieldConfig.defaults.units"]


def test_the_rows_are_in_order_and_open() -> None:
    rows = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == ROWS
    assert not any(row["collapsed"] for row in rows)
    heights = [panel["gridPos"]["y"] for panel in DASHBOARD["panels"]]
    assert heights == sorted(heights)


def test_every_panel_has_a_title_and_a_number_of_its_own_and_says_what_it_shows() -> None:
    titles = [panel["title"] for panel in panels()]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert (len({*titles}), len({*ids})) == (len(titles), len(ids))
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["type"] == "heatmap" or panel["fieldConfig"]["defaults"]["unit"]


def test_no_panel_covers_another_or_leaves_the_board() -> None:
    cells: dict[str, set[tuple[int, int]]] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        across = range(place["x"], place["x"] + place["w"])
        cells[panel["title"]] = {
            (x, y) for x in across for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(cells, 2):
        assert not cells[one] & cells[other], f"{one} and {other}"


async def test_every_query_asks_for_metrics_and_labels_that_there_are(
    whole: MetricsInstance,
) -> None:
    samples = await whole.samples()
    for query in queries():
        asks = metric_names(query.expr)
        assert asks, query
        assert asks <= samples.keys(), query
        assert label_names(query.expr) <= ADDED_LABELS.union(*(samples[name] for name in asks)), (
            query
        )
        assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= label_names(query.expr), query


async def test_every_metric_of_the_bridge_is_on_the_board(whole: MetricsInstance) -> None:
    shown = {
        re.sub(r"_bucket$", "", name) for query in queries() for name in metric_names(query.expr)
    }
    for family in (await whole.families()).values():
        if family.name.startswith("push_bridge_"):
            assert shown & {family.name, f"{family.name}_total", f"{family.name}_info"}, family


def test_every_query_is_of_the_instances_that_are_chosen() -> None:
    for query in queries():
        selectors = re.findall(r"\{([^}]*)\}", query.expr)
        assert len(selectors) == len(re.findall(r"(?:push_bridge|process)_\w+", query.expr)), query
        assert all('instance=~"$instance"' in selector for selector in selectors), query


def test_what_is_chosen_from_is_there() -> None:
    source, instance = DASHBOARD["templating"]["list"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    assert instance["query"] == "label_values(push_bridge_ready, instance)"
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize(
    ("expr", "metrics", "by"),
    [
        ("up", {"up"}, set()),
        ('sum by (a, b) (rate(x_total{c="d, e=f"}[5m]))', {"x_total"}, {"a", "b", "c"}),
        ("x > on (a) y and z offset 5m", {"x", "y", "z"}, {"a"}),
        ('absent(x{a!="1",b=~"2"}) or 1e9 < y:z', {"x", "y:z"}, {"a", "b"}),
    ],
)
def test_what_an_expression_names_is_found(expr: str, metrics: set[str], by: set[str]) -> None:
    assert (monitoring_queries.metric_names(expr), monitoring_queries.label_names(expr)) == (
        metrics,
        by,
    )
