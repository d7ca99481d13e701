"""A marker in every text attribute of an exam: no log, metric, audit message, message of the broker, page of Flower,
file name or overview holds one, nor the ledger once the exam's files have gone.

Report, page and result are about the patient and go back to his archive; they are not looked at here, but for the
metadata of the PDF, which programs show without opening it.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from pydicom import dcmread
from pydicom.dataset import Dataset

from config.schema import Settings
from daemon.broker.redis_client import SOCKET_SCHEME
from daemon.broker.server import broker_url
from daemon.ledger import open_ledger
from daemon.retention import clean
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.daemon import running, storescu
from tests.support.postgres import free_port
from tests.support.redis_server import running_redis, url_of
from tests.support.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(1200)]
# What somebody may write a name into. Of those that sequence rules read, the marker follows what is there.
WRITTEN = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientComments", "PatientBirthName",
    "PatientTelephoneNumbers", "Occupation", "AdditionalPatientHistory", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "AccessionNumber",
    "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription",
    "PerformedProcedureStepDescription", "RequestingService", "RequestingPhysician", "ImageComments",
    "DerivationDescription", "DeviceSerialNumber", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
    "ReceiveCoilName", "ContrastBolusAgent", "IssuerOfPatientID", "ContentLabel", "ContentDescription",
    "ContentCreatorName",
)  # fmt: skip
FOLLOWS = ("StudyDescription", "SeriesDescription", "ProtocolName", "Manufacturer", "ManufacturerModelName")
# Written by the machine itself; two studies of one exam are known by them.
OF_THE_SCANNER = ("Manufacturer", "ManufacturerModelName")
PASSWORD = "flowers-in-a-test"
APPLICATIONS = {"listen", "work-analyse", "work-deliver", "work-sweep", "beat", "observe", "flower"}
THE_END = "that was all"
MARKER = re.compile(rb"ZQ\d\dQZ", re.IGNORECASE)


def mark(dataset: Dataset) -> None:
    for number, keyword in enumerate(WRITTEN):
        old = f"{dataset.get(keyword) or ''} " if keyword in FOLLOWS else ""
        setattr(dataset, keyword, f"{old}ZQ{number:02d}QZ".strip())
    for segment in dataset.get("SegmentSequence") or ():
        segment.SegmentDescription = "ZQ98QZ"
        segment.SegmentLabel = f"{segment.SegmentLabel} ZQ99QZ"


def metadata_of_pdfs(folder: Path) -> Iterator[bytes]:
    """What stands in the information dictionaries of every PDF, also of those inside DICOM."""
    for path in folder.rglob("*"):
        if path.is_file() and b"%PDF-" in (data := path.read_bytes()):
            yield b" ".join(
                re.findall(rb"/(?:Title|Author|Subject|Keywords|Creator|Producer)\s*(\(.*?\)|<.*?>)", data, re.DOTALL)
            )


@contextmanager
def overheard(client: redis.Redis) -> Iterator[list[bytes]]:
    """Every command that reaches a broker meanwhile, with its arguments, and at the end all that it holds."""
    commands: list[bytes] = []
    ready = threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:
            ready.set()
            for heard in monitor.listen():
                commands.append(str(heard["command"]).encode())
                if THE_END.encode() in commands[-1]:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait()
    try:
        yield commands
        commands += [client.dump(key) or b"" for key in client.scan_iter()]
    finally:
        client.echo(THE_END)
        thread.join()


def _patient(url: str) -> redis.Redis:
    """A client that waits as long as the broker is quiet; redis-py would end MONITOR after some seconds."""
    return redis.Redis(unix_socket_path=url.removeprefix(SOCKET_SCHEME), socket_timeout=None)


def bodies_of_messages(commands: list[bytes]) -> Iterator[bytes]:
    """Kombu writes them in base 64."""
    for command in commands:
        for text in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", command):
            with suppress(ValueError):
                yield base64.b64decode(text, validate=True)


def pages_of_flower(port: int, study: str) -> dict[str, bytes]:
    """Its pages and interfaces, once it has heard of the study's tasks."""

    def get(path: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"axrad:{PASSWORD}".encode()).decode())
        try:
            with urllib.request.urlopen(request) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            return b""

    wait_for(lambda: study.encode() in get("/api/tasks"), "Flower to hear of the exam", ticks=2 * PATIENCE)
    tasks = [f"{base}/{uuid}" for uuid in json.loads(get("/api/tasks")) for base in ("/task", "/api/task/info")]
    paths = ("/workers", "/tasks", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/queues/length", *tasks)
    return {f"Flower {path}": get(path) for path in paths}


@pytest.mark.parametrize("broker", ["embedded", pytest.param("redis", marks=pytest.mark.peer("redis-server"))])
def test_no_output_holds_what_a_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], broker: str
) -> None:
    monkeypatch.setenv("AXRAD_LOG__LEVEL", "debug")
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=11, preset="small"))
    for path in exam.folder.rglob("*.dcm"):
        dataset = dcmread(path)
        mark(dataset)
        dataset.save_as(path)
    port, flower = free_port(), free_port()
    tables = [f'[flower]\nport = {flower}\npassword = "{PASSWORD}"\n']
    with ExitStack() as stack:
        client = stack.enter_context(running_redis(tmp_path / "redis")) if broker == "redis" else None
        sections = {"metrics": f"port = {port}"} | ({"broker": f'url = "{url_of(client)}"'} if client else {})
        daemon = stack.enter_context(running(tmp_path / "house", tables, flower=True, **sections))
        url = broker_url(daemon.settings)
        embedded = _patient(url) if client is None else None
        with overheard(client or embedded) as commands:  # type: ignore[arg-type]
            storescu(daemon.port, exam.folder)
            study = daemon.wait_for(exam.study_uid, "reported", "delivered", "not_evaluated")
            outputs = pages_of_flower(flower, study["id"])
        if embedded is not None:
            embedded.close()
        outputs["broker"] = b"\n".join([*commands, *bodies_of_messages(commands)])
        for command in ("status", "studies", "doctor"):
            outputs[command] = daemon.axrad(*command.split(), "--json").stdout.encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            outputs["metrics"] = answer.read()
        house, spool, settings = daemon.folder, daemon.settings.spool.path, daemon.settings
    outputs["log"] = "".join(capfd.readouterr()).encode()
    outputs["audit"] = (spool.parent / "audit.jsonl").read_bytes()
    outputs["file names"] = "\n".join(str(path) for path in house.rglob("*")).encode()
    outputs["metadata of PDFs"] = b"\n".join(metadata_of_pdfs(spool / "results"))
    for path in [*spool.rglob("*.jsonl"), *(spool / "journal").glob("*"), *house.rglob("*.db")]:
        outputs[path.name] = path.read_bytes()
    outputs |= ledger_after_retention(settings)
    assert outputs["audit"].count(exam.study_uid.encode()) >= 3, "received, used and made"
    assert begun_and_ended(outputs["audit"]) == {
        "listen",
        "work-analyse",
        "work-deliver",
        "work-sweep",
        "beat",
        "observe",
        "flower",
    }
    assert outputs["metadata of PDFs"]
    assert b"axrad_" in outputs["metrics"]
    assert outputs["log"].count(b"\n") > 3
    assert b"axrad.analyse" in outputs["broker"]
    assert study["id"].encode() in outputs["broker"], "bodies of messages are looked into"
    assert b"axrad.analyse" in outputs["Flower /api/tasks"]
    assert exam.study_uid.encode() in outputs["ledger.sqlite"]
    for keyword in OF_THE_SCANNER:
        outputs["ledger.sqlite"] = outputs["ledger.sqlite"].replace(f"ZQ{WRITTEN.index(keyword)}QZ".encode(), b"")
    markers_in = {name: sorted(set(MARKER.findall(text))) for name, text in outputs.items()}
    assert {name: markers for name, markers in markers_in.items() if markers} == {}


def begun_and_ended(trail: bytes) -> set[str]:
    """Applications of which the audit trail says both, once each."""
    messages = Counter(
        (message["axrad"]["application"], message["EventIdentification"]["EventTypeCode"]["csd-code"])
        for message in map(json.loads, trail.splitlines())
        if "application" in message.get("axrad", {})
    )
    begin, end = "110120", "110121"  # DICOM: Application Start, Application Stop
    return {name for name, _ in messages if messages[name, begin] == messages[name, end] == 1}


def ledger_after_retention(settings: Settings) -> dict[str, bytes]:
    """Every byte of the ledger once the exam's files have gone; before, it holds what rules read."""
    files = settings.spool.path.parent
    ledger = open_ledger(settings)
    try:
        before = b"".join(path.read_bytes() for path in files.glob("ledger.sqlite*"))
        assert MARKER.search(before), "series are named with markers"
        now = time.time() + 40 * 86400
        assert clean(ledger, settings, now).files > 0
        return {path.name: path.read_bytes() for path in files.glob("ledger.sqlite*")}
    finally:
        ledger.close()
