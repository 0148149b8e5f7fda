"""A test that can not run says what would let it run."""

from __future__ import annotations

import pytest

from tests.harness import kafka_cluster, needs


def only(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name if name in present else None)


def test_what_is_absent_is_named(monkeypatch):
    only(monkeypatch, "setpriv")
    expected = "real Kafka needs Java 17 and Maven: install `openjdk-17-jre-headless` and `maven`"
    assert kafka_cluster.missing() == expected
    only(monkeypatch, "setpriv", "java")
    assert kafka_cluster.missing() == "real Kafka needs Java 17 and Maven: install `maven`"


def test_nothing_is_said_where_all_is_there(monkeypatch):
    programs = ("java", "mvn", "google-chrome", "chromedriver", "node", "npm", "nginx", "promtool")
    only(monkeypatch, "setpriv", *programs)
    monkeypatch.setattr(needs, "node", lambda: needs.NODE)
    assert [needs.missing(marker) for marker in needs.NEEDS] == [None] * len(needs.NEEDS)


def test_a_node_that_is_too_old_is_said_to_be(monkeypatch):
    only(monkeypatch, "node", "npm")
    monkeypatch.setattr(needs, "node", lambda: (18, 20, 4))
    expected = (
        "the JavaScript client needs Node.js 20.10 or newer: install `nodejs` from nodejs.org"
    )
    assert needs.missing("node") == expected
    assert needs.missing("npm") is not None


def test_every_need_is_a_marker_of_the_project(request):
    names = {line.partition(":")[0] for line in request.config.getini("markers")}
    assert needs.NEEDS.keys() <= names


@pytest.mark.parametrize("marker", sorted(needs.NEEDS))
def test_a_marked_test_is_skipped_with_the_sentence(request, monkeypatch, marker):
    only(monkeypatch)
    request.node.add_marker(marker)
    with pytest.raises(pytest.skip.Exception, match=r"needs?.* install `"):
        request.node.ihook.pytest_runtest_setup(item=request.node)
