"""The image, run as docker/compose.yaml says: an exam goes through it, and its containers can do nothing else.

`script/image --test` builds the image and runs this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom import dcmread

from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.composed import composed, services
from tests.support.contained import IMAGE, LIMITS, USER, ContainerHouse, engine
from tests.support.daemon import storescu
from tests.support.waiting import PATIENCE, wait_for
from tests.unit.test_kubernetes import containers

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.peer("storescu"),
    pytest.mark.peer("orthanc"),
    pytest.mark.peer("redis-server"),
    pytest.mark.skipif(not IMAGE, reason="no image is named: script/image --test builds one"),
]
each_service = pytest.mark.parametrize("name", list(services()))
WRITABLE = {"/": False, "/opt/axrad": False, "/etc/axrad": False, "/tmp": True, "/var/lib/axrad": True}
BYTES = {"m": 1024**2, "g": 1024**3}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[ContainerHouse]:
    folder = tmp_path_factory.mktemp("house")
    with composed(folder, postgres, kind=ContainerHouse, AXRAD_ASSEMBLY__QUIET_S="10") as house:
        assert isinstance(house, ContainerHouse)
        yield house


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=7, preset="small"))


def test_an_exam_that_orthanc_sends_comes_back_as_a_report(house: ContainerHouse, exam: PhantomExam) -> None:
    storescu(house.ports.dicom, exam.folder, ae_title="ORTHANC")
    wait_for(
        lambda: house.states().get(exam.study_uid) == "delivered",
        f"the report of the exam: {house.states()}",
        moves=house.states,
        ticks=3 * PATIENCE,
    )
    stored = [house.pacs.file(uid) for uid in house.pacs.instances()]
    (report,) = (data for data in stored if dcmread(BytesIO(data), stop_before_pixels=True).Modality == "SR")
    assert check_report(report) == []
    (result,) = (house.folder / "data" / "spool" / "results").rglob("result.json")
    assert json.loads(result.read_bytes())["status"] == "evaluated"


def test_doctor_finds_nothing_wrong_from_within(house: ContainerHouse) -> None:
    done = house.inside("observe", "axrad", "doctor", "--json")
    bad = {line["part"]: line["text"] for line in json.loads(done.stdout)["lines"] if not line["ok"]}
    assert bad == {}


@each_service
def test_a_container_runs_without_rights(house: ContainerHouse, name: str) -> None:
    status = house.inside(name, "cat", "/proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == [str(USER)] * 4
    assert {facts[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"


@each_service
def test_a_container_can_write_to_its_data_and_tmp_only(house: ContainerHouse, name: str) -> None:
    for place, may in {
        "/": False,
        "/opt/axrad": False,
        "/etc/axrad": False,
        "/tmp": True,
        "/var/lib/axrad": True,
    }.items():
        done = house.inside(name, "sh", "-c", f"touch {place}/probe && rm {place}/probe")
        assert (done.returncode == 0) == may, f"{place}: {done.stderr}"
    options = next(
        line.split()[3] for line in house.inside(name, "cat", "/proc/mounts").stdout.splitlines() if " / " in line
    )
    assert "ro" in options.split(",")


@each_service
def test_a_containers_memory_is_limited_as_compose_says(house: ContainerHouse, name: str) -> None:
    wanted = services()[name]["mem_limit"]
    places = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    found = house.inside(name, "sh", "-c", f"cat {places} 2>/dev/null").stdout.split()
    assert found == [str(int(wanted[:-1]) * BYTES[wanted[-1]])]


def once(program: str, *words: str) -> str:
    """What a program of the image prints, in a container of its own."""
    done = engine("run", "--rm", "--network=host", *LIMITS, f"--entrypoint={program}", IMAGE, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_has_no_compiler_and_no_installer() -> None:
    assert once("sh", "-c", "for tool in cc gcc c99 ld as make pip pip3; do command -v $tool; done; true") == ""


def test_the_image_leaves_the_libraries_of_research_out() -> None:
    names = ("pandas", "pyarrow", "lifelines", "dcurves", "statsmodels")
    found = once("python", "-c", f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])")
    assert found.strip() == "[]"


def test_the_image_has_the_programs_of_kubernetes_probes() -> None:
    probes = [value for _, container in containers() for key, value in container.items() if key.endswith("Probe")]
    commands = [probe["exec"]["command"] for probe in probes if "exec" in probe]
    programs = {command[0] for command in commands}
    programs |= {found for c in commands if c[0] == "sh" for found in re.findall(r"(?:^|\| )([a-z]+)", c[-1])}
    assert programs == {"sh", "test", "find", "grep"}
    for program in programs:
        assert once("sh", "-c", f"command -v {program}").strip(), program
