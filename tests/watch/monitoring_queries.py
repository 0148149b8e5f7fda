"""What the board and the alerts ask Prometheus for, read from the files that people take over.

The rule kept here: an expression is looked at by its names only. Whether it is right in all else is
Prometheus' to say, in `test_alerts.py` and `test_prometheus.py`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import yaml

from tests.journey.compose_stack import COMPOSE_FOLDER

DASHBOARD: Final[dict[str, Any]] = json.loads(
    (COMPOSE_FOLDER / "grafana" / "board.json").read_text(encoding="utf-8")
)
ALERT_RULES: Final = COMPOSE_FOLDER / "alerts.yaml"
#: What Prometheus adds to whatever it reads, and what a histogram's buckets have.
ADDED_LABELS: Final = frozenset({"instance", "job", "le"})
_KEYWORDS: Final = frozenset({"and", "or", "unless", "offset", "bool", "on", "by"})
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


class Query(NamedTuple):
    """One query of a panel."""

    panel: str
    expr: str
    legend: str


def panels() -> list[dict[str, Any]]:
    """Return the panels, without the rows that they stand in."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Return what the panels ask."""
    return [
        Query(panel["title"], target["expr"], target["legendFormat"])
        for panel in panels()
        for target in panel["targets"]
    ]


def alert_rules() -> dict[str, dict[str, Any]]:
    """Return the rules, by the names of their alerts."""
    (group,) = yaml.safe_load(ALERT_RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def metric_names(expr: str) -> set[str]:
    """Return the metrics that `expr` asks for."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", _GROUPING.sub("", expr))
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - _KEYWORDS


def label_names(expr: str) -> set[str]:
    """Return the labels by which `expr` chooses or groups."""
    selected = [
        name for part in re.findall(r"\{([^}]*)\}", expr) for name in _selector_labels(part)
    ]
    grouped = [name.strip() for part in _GROUPING.findall(expr) for name in part.split(",")]
    return {*selected, *grouped}


def _selector_labels(selector: str) -> list[str]:
    return re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector))


def substitute_variables(expr: str) -> str:
    """Return `expr` as Grafana would send it, with nothing chosen on the board."""
    return expr.replace("$instance", ".*").replace("$__rate_interval", "1m")
