"""A test that can not run says what would let it run."""

from __future__ import annotations

import pytest

from tests.harness import kafka_cluster, required_programs


def only(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name if name in present else None)


def test_what_is_absent_is_named(monkeypatch):
    only(monkeypatch, "setpriv")
    expected = "real Kafka needs Java 17 and Maven: install `openjdk-17-jre-headless` and `maven`"
    assert kafka_cluster.missing_kafka() == expected
    only(monkeypatch, "setpriv", "java")
    assert kafka_cluster.missing_kafka() == "real Kafka needs Java 17 and Maven: install `maven`"


def test_nothing_is_said_where_all_is_there(monkeypatch):
    programs = "java javac mvn google-chrome chromedriver node npm nginx promtool curl wget setpriv"
    only(monkeypatch, *programs.split())
    monkeypatch.setattr(
        required_programs, "node_version", lambda: required_programs.MIN_NODE_VERSION
    )
    assert [
        required_programs.missing_sentence(marker) for marker in required_programs.REQUIRED_PROGRAMS
    ] == [None] * len(required_programs.REQUIRED_PROGRAMS)


def test_a_node_that_is_too_old_is_said_to_be(monkeypatch):
    only(monkeypatch, "node", "npm")
    monkeypatch.setattr(required_programs, "node_version", lambda: (18, 20, 4))
    expected = (
        "the JavaScript client needs Node.js 20.10 or newer: install `nodejs` from nodejs.org"
    )
    assert required_programs.missing_sentence("node") == expected
    assert required_programs.missing_sentence("npm") is not None


def test_every_need_is_a_marker_of_the_project(request):
    names = {line.partition(":")[0] for line in request.config.getini("markers")}
    assert required_programs.REQUIRED_PROGRAMS.keys() <= names


@pytest.mark.parametrize("marker", sorted(required_programs.REQUIRED_PROGRAMS))
def test_a_marked_test_is_skipped_with_the_sentence(request, monkeypatch, marker):
    only(monkeypatch)
    request.node.add_marker(marker)
    with pytest.raises(pytest.skip.Exception, match=r"needs?.* install `"):
        request.node.ihook.pytest_runtest_setup(item=request.node)
