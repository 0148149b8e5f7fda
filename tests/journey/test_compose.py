"""`compose.yaml` is what the Compose Specification allows, and fits the bridge and its files."""

from __future__ import annotations

import copy
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from bridge.config.settings import SettingError, load_settings
from tests.journey.compose_spec import compose_validator
from tests.journey.compose_stack import BRIDGES, COMPOSE_FOLDER, ROOT, bridge_settings, services
from tests.journey.test_image import instructions

DOCUMENT = yaml.safe_load((COMPOSE_FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = services()
DONE, HEALTHY = "service_completed_successfully", "service_healthy"
POM = ROOT / "tests" / "harness" / "pom.xml"


def once(service: dict[str, Any]) -> bool:
    """Whether it is meant to end."""
    return service.get("restart") == "no"


def test_it_is_a_compose_file_by_the_specifications_own_schema():
    compose_validator().validate(DOCUMENT)


def test_the_schema_finds_a_word_that_compose_does_not_know():
    wrong = copy.deepcopy(DOCUMENT)
    wrong["services"]["nginx"]["health_check"] = wrong["services"]["nginx"].pop("healthcheck")
    assert not compose_validator().is_valid(wrong)


def test_it_is_kafka_two_bridges_nginx_a_producer_and_who_watches_them():
    watching = {"prometheus", "grafana"}
    assert SERVICES.keys() == {"kafka", "topics", *BRIDGES, "nginx", "producer", *watching}


@pytest.mark.parametrize("name", SERVICES)
def test_everybody_says_whether_it_is_well_or_runs_once(name):
    assert once(SERVICES[name]) != ("healthcheck" in SERVICES[name])


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_starts_before_what_it_needs_is_well_or_done(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": DONE if once(SERVICES[other]) else HEALTHY}


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_of_this_machine_only(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_built_here_or_of_a_version_that_is_said(name):
    image, _, version = SERVICES[name]["image"].partition(":")
    assert (
        image == "push-bridge"
        if "build" in SERVICES[name]
        else re.match(r"v?\d+\.\d+\.\d+", version)
    )


def test_kafka_is_the_version_that_the_tests_run():
    version = ET.parse(POM).getroot().findtext("{*}version")
    for name in ("kafka", "topics"):
        assert SERVICES[name]["image"] == f"apache/kafka:{version}"


@pytest.mark.parametrize("name", [*BRIDGES, "producer"])
def test_every_setting_is_one(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # there is no `.env`
    for setting, value in bridge_settings(name).items():
        monkeypatch.setenv(setting, value)
    assert [topic.name for topic in load_settings().topics] == ["demo"]
    monkeypatch.setenv("BRIDGE_TOPIC", "demo")
    with pytest.raises(SettingError):
        load_settings()


def test_the_bridges_differ_in_their_names_only():
    one, two = (bridge_settings(name) for name in BRIDGES)
    assert (one.pop("BRIDGE_INSTANCE"), two.pop("BRIDGE_INSTANCE")) == BRIDGES
    assert one == two


def test_they_read_the_topic_that_is_made():
    (made,) = [word for word in SERVICES["topics"]["command"] if word.startswith("--topic=")]
    assert json.loads(bridge_settings("bridge-1")["BRIDGE_TOPICS"]) == [
        made.removeprefix("--topic=")
    ]


def test_prometheus_asks_every_bridge_on_its_admin_port_inside_the_stack():
    asked = yaml.safe_load((COMPOSE_FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = asked["scrape_configs"]
    port = bridge_settings("bridge-1")["BRIDGE_ADMIN_PORT"]
    assert job["static_configs"] == [{"targets": [f"{name}:{port}" for name in BRIDGES]}]
    assert port not in (COMPOSE_FOLDER / "nginx.conf").read_text(encoding="utf-8")


def test_grafana_asks_the_prometheus_that_is_there():
    source = yaml.safe_load(
        (COMPOSE_FOLDER / "grafana" / "source.yaml").read_text(encoding="utf-8")
    )
    (only,) = source["datasources"]
    assert only["url"] == "http://prometheus:9090"
    assert "9090" in SERVICES["prometheus"]["ports"][0]


def test_nginx_knows_them_by_their_names():
    text = (COMPOSE_FOLDER / "nginx.conf").read_text(encoding="utf-8")
    assert tuple(re.findall(r"server ([\w-]+):8080", text)) == BRIDGES


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_mounts_and_builds_is_there(name):
    for volume in SERVICES[name].get("volumes", []):
        source, _, mode = volume.split(":")
        assert (COMPOSE_FOLDER / source).is_file()
        assert mode == "ro"
    if build := SERVICES[name].get("build"):
        assert (COMPOSE_FOLDER / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", [*BRIDGES, "producer", "nginx", "prometheus", "grafana"])
def test_what_faces_anybody_can_do_little_to_its_host(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_the_images_own_settings_are_some_and_it_runs_as_nobody():
    final = instructions()[-1]
    environment = next(text for word, text in final if word == "ENV")
    for setting in re.findall(r"BRIDGE_\w+", environment):
        assert f"{setting.removeprefix('BRIDGE_').lower()}" in type(load_settings()).model_fields
    words = [word for word, _ in final]
    assert ("USER", "10001") in final
    assert "HEALTHCHECK" in words


def test_the_build_is_sent_what_it_copies_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = [text.split()[:-1] for word, text in instructions()[0] if word == "COPY"]
    assert "*" in lines
    assert sent == {source for sources in copied for source in sources}
