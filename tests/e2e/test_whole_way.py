"""An exam comes in by C-STORE, its report lands in the PACS: every part real, nothing pressed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import _config

from config.load import load
from daemon.export.association import Address, associated
from daemon.ledger import heartbeats, open_ledger
from daemon.processes.supervisor import axrad_command
from daemon.spool import Spool, part10, read_meta
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import Daemon, destination, running, storescu
from tests.support.orthanc import Orthanc, orthanc
from tests.support.postgres import free_port
from tests.support.waiting import listens, wait_for, wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("orthanc")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Orthanc]]:
    port = free_port()
    with orthanc(our_port=port) as pacs:
        tables = [destination(pacs.dicom_port, proof="readback")]
        with running(tmp_path_factory.mktemp("house"), tables, port=port) as daemon:
            yield daemon, pacs


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=7, preset="small"))


@pytest.fixture(scope="module")
def reported(house: tuple[Daemon, Orthanc], exam: PhantomExam) -> dict[str, object]:
    daemon, _ = house
    storescu(daemon.port, exam.folder)
    return daemon.wait_for(exam.study_uid, "delivered")


def objects_of(pacs: Orthanc, study_uid: str, modality: str) -> list[str]:
    found = [dcmread_bytes(pacs.file(uid)) for uid in pacs.instances()]
    return [str(d.SOPInstanceUID) for d in found if d.StudyInstanceUID == study_uid and d.Modality == modality]


def dcmread_bytes(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def test_the_report_of_an_exam_sent_by_storescu_lands_in_the_pacs(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object]
) -> None:
    _, pacs = house
    assert len(objects_of(pacs, exam.study_uid, "SR")) == 1
    assert [d["proof"] for d in reported["deliveries"]] == ["read back"]  # type: ignore[attr-defined]


def test_every_number_of_the_result_is_in_the_report_that_the_pacs_has(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object], tmp_path: Path
) -> None:
    daemon, pacs = house
    (uid,) = objects_of(pacs, exam.study_uid, "SR")
    (tmp_path / "sr.dcm").write_bytes(pacs.file(uid))
    assert check_report(pacs.file(uid), daemon.result(exam.study_uid)) == []
    result = daemon.results(exam.study_uid)[-1] / "result.json"
    done = subprocess.run(
        [*axrad_command(), "check-sr", str(tmp_path / "sr.dcm"), "--result", str(result)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_result_is_evaluated_and_says_that_it_is_a_demonstration(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object]
) -> None:
    result = house[0].result(exam.study_uid)
    assert (result.status, result.demonstration) == ("evaluated", True)
    assert result.prediction is not None
    assert len(result.features) == 6 * 851
    assert {name: choice.series_uid for name, choice in result.sequences.items()} == dict(exam.chosen)


def test_series_that_must_not_be_chosen_were_not(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object]
) -> None:
    chosen = {s.series_uid for s in house[0].result(exam.study_uid).sequences.values()}
    forbidden = {s.series_uid for s in exam.series if s.label in ("localizer", "subtraction", "mip")}
    assert len(forbidden) >= 3
    assert not chosen & forbidden


def test_results_that_the_pacs_routes_back_make_no_new_revision(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object]
) -> None:
    daemon, pacs = house
    before = len(daemon.wait_for_instances(1))
    results = pacs.instances()
    pacs.send("axrad", results)
    rows = daemon.wait_for_instances(before + len(results))
    assert {r.state for r in rows[before:]} == {"ignored"}
    daemon.wait_for_sweep()
    found = daemon.study(exam.study_uid)
    assert found is not None
    assert (found["state"], found["revision"]) == ("delivered", 1)


def test_a_corrected_seg_makes_revision_2_that_names_its_predecessor(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object], tmp_path: Path
) -> None:
    daemon, pacs = house
    first = objects_of(pacs, exam.study_uid, "SR")
    corrected = write_exam(tmp_path, PhantomSpec(seed=7, preset="small", seg_revision=2))
    storescu(daemon.port, corrected.seg_path)  # type: ignore[arg-type]
    daemon.wait_for(exam.study_uid, "delivered", revision=2)
    (second,) = set(objects_of(pacs, exam.study_uid, "SR")) - set(first)
    report = dcmread_bytes(pacs.file(second))
    items = [
        i.ReferencedSOPInstanceUID
        for s in report.PredecessorDocumentsSequence
        for series in s.ReferencedSeriesSequence
        for i in series.ReferencedSOPSequence
    ]
    assert items == first


def test_an_exam_without_t2_waits_and_says_for_what(house: tuple[Daemon, Orthanc], tmp_path: Path) -> None:
    daemon, _ = house
    other = write_exam(tmp_path, PhantomSpec(seed=8, preset="small"))
    t2 = next(s for s in other.series if s.label == "t2")
    for path in t2.paths:
        path.unlink()
    storescu(daemon.port, other.folder)
    found = daemon.wait_for(other.study_uid, "waiting")
    assert "T2" in str(found["reason"])


def test_the_command_line_tells_of_the_study_from_first_instance_to_proof(
    house: tuple[Daemon, Orthanc], exam: PhantomExam, reported: dict[str, object]
) -> None:
    daemon, _ = house
    shown = daemon.axrad("show", exam.study_uid, "--json")
    assert shown.returncode == 0, shown.stderr
    kinds = [e["kind"] for e in json.loads(shown.stdout)["events"]]
    assert kinds.index("first-instance") < kinds.index("analysed") < kinds.index("delivered")
    for command in (["status"], ["studies"], ["doctor"]):
        done = daemon.axrad(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.cases
def test_every_real_file_is_received_stored_as_sent_and_catalogued(
    house: tuple[Daemon, Orthanc], cases: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    daemon, _ = house
    files = [p for folder in ("mr", "seg") for p in sorted((cases / folder).rglob("*")) if p.is_file()]
    sent = set()
    contexts = set()
    for path in files:
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue  # NRRD masks lie beside the images
        sent.add((str(header.SOPInstanceUID), path))
        contexts.add((str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)))
    # DCMTK encodes data sets anew and does not know LABELMAP; what is sent here is what lies in the file.
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    address = Address("the listener", "AXRAD", "127.0.0.1", daemon.port, "SCANNER")
    with associated(address, [(name, [syntax]) for name, syntax in sorted(contexts)]) as association:
        for uid, path in sorted(sent):
            header = dcmread(path, stop_before_pixels=True)
            syntax = str(header.file_meta.TransferSyntaxUID)
            # One of them has another UID in its file meta information than in its data set; what counts is the latter.
            copy = tmp_path / "copy.dcm"
            copy.write_bytes(part10.header(str(header.SOPClassUID), uid, syntax, "SCANNER") + data_set_of(path))
            assert association.send_c_store(copy).Status == 0, path
    uids = {uid for uid, _ in sent}
    rows: dict[str, Any] = {}

    def indexed() -> bool:
        rows.update({r.sop_uid: r for r in daemon.wait_for_instances(1)})
        return uids <= set(rows)

    wait_for(indexed, "every file to be indexed", moves=lambda: len(rows))
    spool = Spool(daemon.settings.spool.path)
    for uid, path in sent:
        assert any(data_set_of(stored) == data_set_of(path) for stored in spool.find(uid)), path
        assert rows[uid].state in ("stored", "ignored"), (path, rows[uid].note)


def data_set_of(path: Path) -> bytes:
    """Everything after the file meta information."""
    with path.open("rb") as file:
        read_meta(file)
        return file.read()


def signs_in(config: Path) -> set[str]:
    """Kinds of the signs of life that are in the ledger."""
    ledger = open_ledger(load(config, environ={}))
    try:
        with ledger.read() as connection:
            return {row.kind for kind in ("worker", "sweep") for row in heartbeats.signs_of(connection, kind)}
    finally:
        ledger.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_starts_everything_and_a_signal_ends_it_all_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    config = tmp_path / "axrad.toml"
    config.write_text(f'[spool]\npath = "spool"\nrefuse_free_bytes = 1\n[listen]\nport = {port}\n')
    process = subprocess.Popen([*axrad_command(), "up", "--config", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        wait_for_listener(port)
        wait_for(lambda: signs_in(config) >= {"worker", "sweep"}, "the workers to say that they are there")
        process.send_signal(number)
        _, errors = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert not listens(port)
    left = subprocess.run(["pgrep", "-f", str(config)], capture_output=True, text=True, check=False).stdout
    assert left == ""
