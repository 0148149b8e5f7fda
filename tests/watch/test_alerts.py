"""The alerts: right by Prometheus' own tool, which also tries them on series that are made up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.journey.compose_stack import COMPOSE_FOLDER
from tests.watch.monitoring_queries import (
    ADDED_LABELS,
    ALERT_RULES,
    alert_rules,
    label_names,
    metric_names,
)

if TYPE_CHECKING:
    from tests.watch.metrics_instance import MetricsInstance

TESTS = Path(__file__).with_name("alerts.yaml")
CASES: list[dict[str, Any]] = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
SECONDS = 60.0

promtool = pytest.mark.prometheus


def tool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def checked(*arguments: str, stdin: str = "") -> str:
    done = tool(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@promtool
def test_the_rules_and_the_configuration_that_loads_them_are_right():
    assert f"{len(alert_rules())} rules found" in checked("check", "rules", str(ALERT_RULES))
    assert "1 rule files found" in checked(
        "check", "config", str(COMPOSE_FOLDER / "prometheus.yaml")
    )


@promtool
def test_each_alert_fires_when_it_should_and_not_before():
    assert "SUCCESS" in checked("test", "rules", str(TESTS))


@promtool
@pytest.mark.parametrize("wrong_expr", ["vector(1) > 2", "vector(1)"], ids=["never", "always"])
def test_every_alert_that_never_or_always_fires_is_found_out(wrong_expr, tmp_path):
    wrong = yaml.safe_load(ALERT_RULES.read_text(encoding="utf-8"))
    for rule in wrong["groups"][0]["rules"]:
        rule["expr"] = wrong_expr
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    tests = yaml.safe_load(TESTS.read_text(encoding="utf-8"))
    tests["rule_files"] = ["alerts.yaml"]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = tool("test", "rules", str(tmp_path / "tests.yaml"))
    assert done.returncode == 1
    for alert in alert_rules():
        assert f"alertname: {alert}" in done.stdout + done.stderr


@promtool
async def test_prometheus_own_linter_has_nothing_to_say_of_the_metrics(whole: MetricsInstance):
    whole.hub.counters.gaps_by_reason["corrupt"] += 1
    assert checked("check", "metrics", stdin=await whole.read_text()) == ""


@promtool
def test_the_linter_finds_a_name_that_is_against_the_conventions():
    wrong = "# HELP push_bridge_delays_milliseconds Delays.\n"
    wrong += "# TYPE push_bridge_delays_milliseconds counter\npush_bridge_delays_milliseconds 1\n"
    assert tool("check", "metrics", stdin=wrong).returncode != 0


@pytest.mark.parametrize("alert", alert_rules())
def test_each_alert_is_tried_when_it_is_to_fire_and_when_not(alert):
    tries = [each for case in CASES for each in case["alert_rule_test"]]
    expected = [bool(each["exp_alerts"]) for each in tries if each["alertname"] == alert]
    assert {*expected} == {True, False}


async def test_every_alert_asks_for_metrics_and_labels_that_there_are(whole: MetricsInstance):
    samples = {**await whole.samples(), "up": set[str]()}
    for alert, rule in alert_rules().items():
        asks = metric_names(rule["expr"])
        assert asks, alert
        assert asks <= samples.keys(), alert
        assert label_names(rule["expr"]) <= ADDED_LABELS.union(*(samples[name] for name in asks)), (
            alert
        )


def test_every_alert_says_how_urgent_it_is_and_in_a_sentence_what_it_is():
    for alert, rule in alert_rules().items():
        assert alert.startswith("PushBridge")
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "runbook"}
