"""`docs/operations.md` and `docs/runbook.md` name what there is: all of it, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bridge.web.connections.sse import SseConnection
from bridge.web.connections.websocket import WebSocketConnection
from bridge.web.endpoints import metrics as module
from tests.journey.compose_stack import ROOT
from tests.watch import monitoring_queries
from tests.watch.metrics_instance import documented_name

if TYPE_CHECKING:
    from tests.watch.metrics_instance import MetricsInstance

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
PARTS = ("Means", "Look at", "Do")


def table(below: str) -> list[str]:
    """The first cells of the table below a heading."""
    section = OPERATIONS.split(f"{below}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)


def sections() -> dict[str, str]:
    """The runbook's sections, by their anchors."""
    _, *parts = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)
    return {part.split("\n")[0].lower().replace(" ", "-"): part for part in parts}


async def test_every_metric_is_in_the_table_and_every_one_in_the_table_is_there(
    whole: MetricsInstance,
) -> None:
    told = {cell.strip("`") for cell in table("## Metrics")}
    found = {documented_name(family) for family in (await whole.families()).values()}
    processes = {name for name in found if name.startswith("process_")}
    assert processes
    assert told == {*(found - processes), "process_*"}


def test_every_reason_for_which_a_client_is_not_let_in_is_explained() -> None:
    told = [
        word
        for cell in table("### Why a client is not let in")
        for word in re.findall(r"`(\w+)`", cell)
    ]
    assert sorted(told) == sorted(module._REFUSAL_REASONS)


def test_the_kinds_of_clients_are_those_that_there_are() -> None:
    assert (WebSocketConnection.kind, SseConnection.kind) == module._CONNECTION_KINDS


@pytest.mark.parametrize("alert", monitoring_queries.alert_rules())
def test_an_alert_leads_to_its_section_of_the_runbook(alert: str) -> None:
    rule = monitoring_queries.alert_rules()[alert]
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert file == "docs/runbook.md"
    section = sections()[anchor]
    positions = [section.index(f"**{part}.**") for part in PARTS]
    assert positions == sorted(positions)
    assert f"| [{alert}](#{anchor}) | {rule['labels']['severity']} |" in RUNBOOK


def test_every_section_of_the_runbook_is_of_an_alert() -> None:
    rules = monitoring_queries.alert_rules().values()
    anchors = [rule["annotations"]["runbook"].partition("#")[2] for rule in rules]
    assert list(sections()) == anchors


def test_every_panel_that_the_runbook_sends_to_is_on_the_board() -> None:
    text = RUNBOOK.replace("\n", " ")
    sent = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text))
    assert len(sent) > 10
    assert sent <= {panel["title"] for panel in monitoring_queries.panels()}


def test_every_metric_that_the_runbook_names_is_there() -> None:
    told = " ".join(table("## Metrics"))
    named = set(re.findall(r"`([a-z_]+_total|lag|push_bridge_\w+)`", RUNBOOK))
    assert named
    for name in named:
        assert f"push_bridge_{name.removeprefix('push_bridge_')}" in told
