"""Parsing of `/metrics`, records of the workloads, and the result."""

from __future__ import annotations

import json

import pytest

from bridge.bench import report
from bridge.bench.load.job import BenchError, LoadJob, Target, parse_job
from bridge.bench.plan import Plan
from bridge.bench.report import machine_info, raise_open_file_limit
from bridge.bench.workloads import AccountsWorkload, RoomWorkload

METRICS = """# HELP process_cpu_seconds_total It.
process_cpu_seconds_total 1.5
push_bridge_closes_total{code="4002"} 3.0
push_bridge_build_info{name="a b",version="0.1.0"} 1.0
odd line
"""
PLAN = Plan("fanout", (Target("127.0.0.1", 80),), (), {}, rate=100.0)
GOOD = {"lost": 0, "duplicates": 0, "disorder": 0, "client_use": 0.2, "produced_per_second": 100}


def test_samples_are_parsed_with_labels():
    samples = report.parse_metrics(METRICS)
    assert (samples[report.CPU_SECONDS_METRIC], samples[report.SLOW_CLOSES_METRIC]) == (1.5, 3.0)
    assert report.bridge_version(samples) == "0.1.0"


def test_unreachable_metrics_url_is_named():
    with pytest.raises(BenchError, match=r"http://127\.0\.0\.1:1/metrics does not answer"):
        report.scrape_metrics(("http://127.0.0.1:1/metrics",))


def test_job_survives_json():
    job = LoadJob(
        "r", (Target("h", 1), Target("g", 2, "/x")), 9, first=1, step=2, has_private_events=True
    )
    assert parse_job(job.as_json()) == job
    assert [*job.numbers] == [1, 3, 5, 7]


def test_room_workload_numbers_partitions_and_expects_every_member():
    source = RoomWorkload("r", "room", 3, 205, 10)
    records = [source.record(place, 0) for place in range(7)]
    assert [each.partition for each in records] == [0, 1, 2, 0, 1, 2, 0]
    assert (dict(source.sent_by_sequence), source.expected_deliveries()) == ({0: 3, 1: 2, 2: 2}, 70)
    assert json.loads(records[0].value)["rooms"] == ["room"]


@pytest.mark.parametrize("accounts", [1, 10, 7_919])
def test_every_account_gets_as_many_records(accounts):
    source = AccountsWorkload("r", "a", accounts, 3, 205)
    for place in range(2 * accounts):
        source.record(place, 0)
    assert set(source.sent_by_sequence.values()) == {2}
    assert len(source.sent_by_sequence) == accounts


def test_one_record_of_a_hundred_is_for_a_client():
    source = AccountsWorkload("r", "a", 5, 3, 205, one_in=100)
    keys = [source.record(place, 0).key or b"" for place in range(1_000)]
    assert source.expected_deliveries() == 10
    assert sum(b"nobody" not in key for key in keys) == 10


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"lost": 1}, "promise"),
        ({"client_use": 0.99}, "--processes"),
        ({"produced_per_second": 50}, "--rate"),
        ({"behind_at_the_end": 1_000, "deliveries_per_second": 999.0}, "1,000 deliveries"),
        ({"behind_at_the_end": 1_000, "deliveries_per_second": 1_001.0}, None),
        ({"gaps": 1}, "gaps"),
        ({"cut": 2}, "cut"),
        ({"cut": 2, "slow_cut": 2}, None),
        ({"told_to_come_later": 4}, "HANDSHAKES"),
    ],
)
def test_remarks_name_what_limits_the_figures(changed, words):
    remarks = list(report.remarks(PLAN, {**GOOD, **changed}))
    assert len(remarks) == (words is not None)
    assert words is None or words in remarks[0]


@pytest.mark.parametrize("name", ["lost", "duplicates", "disorder"])
def test_delivery_errors_are_found_in_nested_figures(name):
    assert report.has_delivery_errors({**GOOD, name: 1})
    assert report.has_delivery_errors({"alike": {**GOOD, name: 1}})
    assert not report.has_delivery_errors({**GOOD, "alike": GOOD})


def test_result_is_json_and_lines_and_names_the_machine():
    result = report.build_result(
        PLAN, "0.1.0", {**GOOD, "latency_ms": {"p50": 1.0}, "nothing": None}
    )
    assert json.loads(json.dumps(result)) == result
    assert set(machine_info()) == set(result["machine"])
    lines = list(report.format_result(result))
    assert str(result["machine"]["cpu"]) in lines[0]
    assert any("p50 1.0" in line for line in lines)


def test_low_file_limit_names_the_remedy():
    with pytest.raises(BenchError, match="ulimit -Hn"):
        raise_open_file_limit(2**40)
