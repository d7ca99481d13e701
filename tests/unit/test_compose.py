"""docker/compose.yaml: exact images, no rights, the memory that Kubernetes gives, the image that script/image tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import docs
from tests.support.composed import COMPOSE, services
from tests.support.contained import DATA, USER
from tests.unit.test_kubernetes import containers, kustomization

VERSION = tomllib.loads((docs.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
EVERYTHING: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
# Its image writes its own configuration and plugins when it starts, and it is there to try axrad out.
WRITES_TO_ITS_ROOT = {"orthanc"}
UNITS = {"Mi": "m", "Gi": "g"}
DOCKERFILE = (docs.ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")

each_service = pytest.mark.parametrize("name", EVERYTHING)
OURS = services("console")
each_of_ours = pytest.mark.parametrize("name", OURS)


@each_service
def test_an_image_is_named_exactly(name: str) -> None:
    """A tag that moves brings another program at the next start."""
    image = EVERYTHING[name]["image"]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image


@each_service
def test_a_container_has_no_rights_and_limits(name: str) -> None:
    service = EVERYTHING[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["read_only"] == (name not in WRITES_TO_ITS_ROOT)
    assert "privileged" not in service


@each_of_ours
def test_ours_run_as_the_images_user_with_a_tmp_of_their_own(name: str) -> None:
    service = OURS[name]
    assert service["user"] == f"{USER}:{USER}"
    assert [place.split(":")[0] for place in service["tmpfs"]] == ["/tmp"]
    assert f"spool:{DATA}" in service["volumes"]


def test_the_image_with_the_model_extra_is_built_on_the_same_base_and_image_as_pinned() -> None:
    text = (docs.ROOT / "docker" / "model.Dockerfile").read_text(encoding="utf-8")
    (base,) = re.findall("^ARG BASE=.*$", DOCKERFILE, re.MULTILINE)
    assert {base, f"ARG AXRAD=axrad:{VERSION}"} <= set(text.splitlines())
    assert "--require-hashes --no-deps" in text
    assert (docs.ROOT / "script" / "pins" / "model.txt").is_file()


def test_compose_and_kubernetes_name_the_image_of_this_version() -> None:
    assert {service["image"] for service in OURS.values()} == {f"axrad:{VERSION}"}
    (image,) = kustomization()["images"]
    assert (image["name"], image["newTag"]) == ("axrad", VERSION)


def test_compose_gives_the_memory_that_kubernetes_gives() -> None:
    limits = {tuple(c["args"]): c["resources"]["limits"]["memory"] for _, c in containers()}
    for service in OURS.values():
        limit = limits.get(tuple(service["command"]))
        if limit is None:
            assert service["command"] == ["flower"]  # Kubernetes runs none
        else:
            assert service["mem_limit"] == limit[:-2] + UNITS[limit[-2:]], service["command"]


def test_a_worker_that_is_stopped_has_time_to_finish_its_exam() -> None:
    (analyse,) = (c for name, c in containers() if name.endswith("/analyse"))
    assert analyse["args"] == services()["work-analyse"]["command"]
    assert services()["work-analyse"]["stop_grace_period"] == "5m"


def test_the_image_is_built_on_an_exact_base_and_run_by_nobody() -> None:
    assert re.search(r"^ARG BASE=debian:\d+\.\d+-slim$", DOCKERFILE, re.MULTILINE)
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert f"USER {USER}:{USER}" in final
    assert "gcc" not in final


def test_everything_that_the_image_is_made_of_is_sent_to_the_engine_and_nothing_else() -> None:
    ignore = (docs.ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignore
    sent = {line[1:] for line in ignore if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert sent == {name for line in copied for name in line.split()}
    assert all((docs.ROOT / name).exists() for name in sent)


def test_what_compose_mounts_from_here_is_here() -> None:
    for service in EVERYTHING.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith(".") and not source.startswith("./tls/"):  # docker/certificates makes that
                assert (Path(COMPOSE).parent / source).exists(), source


def test_the_console_is_off_until_it_is_asked_for_and_then_published_to_this_machine_alone() -> None:
    assert "console" not in services()
    assert OURS["console"]["ports"] == ["${CONSOLE_ADDRESS:-127.0.0.1}:11185:11185"]
