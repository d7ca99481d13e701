"""A file that kills whoever reads it is set aside, and everything else goes on. The readers here are real processes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon import ledger_in_words
from daemon.health import standing_checks
from daemon.ledger import Ledger, open_ledger, set_aside, views
from daemon.ledger.tables import instances, studies
from daemon.notify.conditions import lasting
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.recovery import unreadable_files
from daemon.spool import Description, JournalWriter
from daemon.spool import Spool as Files
from pipeline.dicom_file import reading_marker
from pipeline.errors import FileSetAside
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image
from tests.support.poison import DEADLY
from tests.support.slices import save

READER = """
import ctypes, os, sys, time
from pathlib import Path
from daemon.recovery import unreadable_files
from pipeline.dicom_file.reading_marker import marked
unreadable_files.start(Path(sys.argv[1]), "a reader", 1.0)
with marked(Path(sys.argv[2])):
    {
        "abort": os.abort,
        "crash": lambda: ctypes.string_at(0),
        "killed": lambda: os.kill(os.getpid(), 9),
        "stopped": lambda: sys.exit(1),
        "terminated": lambda: os.kill(os.getpid(), 15),
        "waits": lambda: (print("reads", flush=True), time.sleep(600)),
        "fine": lambda: None,
    }[sys.argv[3]]()
"""
# The indexer's own loop, once.
INDEXER = """
from config.schema import Settings
from daemon.indexing import indexer
from daemon.recovery import unreadable_files
from daemon.ledger import open_ledger
from daemon.spool import Spool
settings = Settings.model_validate_json(sys.argv[1])
spool, ledger = Spool(settings.spool.path), open_ledger(settings)
unreadable_files.start(spool.root, "the indexer", time.time())
unreadable_files.report_to_ledger(ledger, spool.root, time.time())
indexer.index_once(ledger, spool, time.time(), settings)
unreadable_files.report_to_ledger(ledger, spool.root, time.time())
"""


def a_file(root: Path, name: str = "c") -> Path:
    path = root / "instances" / "ab" / (name * 32) / f"{name * 64}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not looked at")
    return path


def read_by_another(root: Path, path: Path, how: str) -> int:
    return subprocess.run([sys.executable, "-c", READER, root, path, how], capture_output=True).returncode


def refuses(root: Path, path: Path) -> bool:
    """Whether a process that looks at what is set aside would not read this file."""
    try:
        reading_marker.SetAsideFiles(root).require(path)
    except FileSetAside:
        return True
    return False


@pytest.mark.parametrize(("how", "number"), [("abort", signal.SIGABRT), ("crash", signal.SIGSEGV)])
def test_what_was_being_read_when_its_reader_crashed_twice_is_set_aside(
    tmp_path: Path, how: str, number: signal.Signals
) -> None:
    path, other = a_file(tmp_path), a_file(tmp_path, "d")
    assert read_by_another(tmp_path, path, how) == -number
    assert unreadable_files.judge_notes(tmp_path, 2.0) == []
    assert not refuses(tmp_path, path)
    assert read_by_another(tmp_path, path, how) == -number
    (record,) = unreadable_files.judge_notes(tmp_path, 3.0)
    assert (record.path, record.signal, len(record.deaths)) == (str(path), number.name, 2)
    assert refuses(tmp_path, path)
    assert not refuses(tmp_path, other)
    assert read_by_another(tmp_path, path, "fine") == 1
    assert read_by_another(tmp_path, other, "fine") == 0
    assert unreadable_files.forget(tmp_path, path)
    assert read_by_another(tmp_path, path, "fine") == 0


def test_one_process_that_died_is_counted_once(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    read_by_another(tmp_path, path, "abort")
    for _ in range(3):
        unreadable_files.judge_notes(tmp_path, 2.0)
    record = unreadable_files.record_of(tmp_path, reading_marker.key_of(path))
    assert record is not None
    assert len(record.deaths) == 1


def test_who_stops_a_daemon_in_a_hurry_means_no_file(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    for how in ("killed", "stopped", "terminated", "killed", "killed", "stopped"):
        read_by_another(tmp_path, path, how)
        unreadable_files.judge_notes(tmp_path, 2.0)
    assert not refuses(tmp_path, path)
    read_by_another(tmp_path, path, "killed")
    (record,) = unreadable_files.judge_notes(tmp_path, 2.0)
    assert (len(record.deaths), record.signal) == (5, "killed")


def test_kills_for_lack_of_memory_count_as_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path)
    for _ in range(2):
        read_by_another(tmp_path, path, "killed")
        with monkeypatch.context() as patched:
            patched.setattr(unreadable_files, "oom_kills", lambda: 10**9)
            found = unreadable_files.judge_notes(tmp_path, 2.0)
    assert [record.signal for record in found] == ["SIGKILL for lack of memory"]


def test_deaths_before_the_machine_was_started_anew_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path)
    for _ in range(2):
        read_by_another(tmp_path, path, "abort")
        with monkeypatch.context() as patched:
            patched.setattr(unreadable_files, "boot_id", lambda: "another start")
            assert unreadable_files.judge_notes(tmp_path, 2.0) == []
    read_by_another(tmp_path, path, "abort")
    assert unreadable_files.judge_notes(tmp_path, 2.0) == []
    assert not refuses(tmp_path, path)


def test_what_the_supervisor_kills_has_no_part_in_it(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, tmp_path, path, "waits"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"reads\n"
    unreadable_files.judge_notes(tmp_path, 2.0)  # it lives: nothing is judged
    unreadable_files.discard_notes_of(tmp_path, reader.pid)
    os.killpg(reader.pid, signal.SIGKILL)
    reader.communicate()
    unreadable_files.judge_notes(tmp_path, 2.0)
    assert unreadable_files.record_of(tmp_path, reading_marker.key_of(path)) is None


def test_a_file_elsewhere_that_was_mended_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(b"one")
    before = reading_marker.key_of(path)
    path.write_bytes(b"other")
    assert reading_marker.key_of(path) != before


def test_what_is_being_read_is_told_of_the_innermost_file(tmp_path: Path) -> None:
    book = reading_marker.ProcessNote(tmp_path, "a test")
    book.begin(tmp_path / "a")
    book.begin(tmp_path / "b")
    book.end(tmp_path / "a")
    content = book.path.read_bytes()[reading_marker.WHO_BYTES :]
    length = int.from_bytes(content[:2], "little")
    assert content[2 : 2 + length].decode() == str(tmp_path / "b")
    book.end(tmp_path / "b")
    assert book.path.read_bytes()[reading_marker.WHO_BYTES : reading_marker.WHO_BYTES + 2] == b"\0\0"
    book.close()
    assert list((tmp_path / reading_marker.NOTES).iterdir()) == []


# In the ledger


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(spool=Spool(path=tmp_path / "spool"), ledger=LedgerSection())


def received(settings: Settings, *comments: str) -> list[str]:
    """Slices of one exam in the spool, by one sender; their SOP Instance UIDs."""
    spool = Files(settings.spool.path)
    journal = JournalWriter(spool.journal, "SENDER", "10.0.0.1")
    uids = []
    for number, comment in enumerate(comments, start=1):
        uid = f"1.2.3.1.{number}"
        data_set = mr_image(uid)
        data_set.ImageComments = comment
        spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE), encoded(data_set), journal)
        uids.append(uid)
    journal.close("released")
    return uids


def index(settings: Settings) -> int:
    arguments = [sys.executable, "-c", DEADLY + INDEXER, settings.model_dump_json()]
    return subprocess.run(arguments, capture_output=True).returncode


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        return {r.sop_uid: r.state for r in connection.execute(sa.select(instances)).all()}


def test_a_file_that_kills_the_indexer_is_told_by_name_and_all_others_are_indexed(settings: Settings) -> None:
    good, bad, late = received(settings, "fine", "POISON", "fine")
    assert [index(settings) for _ in range(3)] == [-signal.SIGABRT, -signal.SIGABRT, 0]
    ledger = open_ledger(settings)
    assert states(ledger) == {good: "stored", bad: "unreadable", late: "stored"}
    with ledger.read() as connection:
        (told,) = set_aside.listed(connection)
        finding = standing_checks.unreadable(connection)
    assert (told["sop_instance_uid"], told["calling_ae"], told["signal"]) == (bad, "SENDER", "SIGABRT")
    assert not finding.ok
    assert bad in finding.text
    assert "SENDER" in finding.text
    assert "SIGABRT" in finding.text
    with ledger.read() as connection:
        assert "unreadable" in [trouble.kind for trouble in lasting(connection, settings, time.time())]
        shown = ledger_in_words.gather(settings, connection, time.time())
    assert [item["sop_instance_uid"] for item in shown["set_aside"]] == [bad]
    assert any(bad in sentence for sentence in ledger_in_words.advice(shown))
    gauges = {m.name: m for m in LedgerCollector(settings, ledger, time.time, dict).collect()}
    assert [sample.value for sample in gauges["axrad_files_set_aside"].samples] == [1]
    ledger.close()


def test_a_file_that_was_set_aside_is_taken_up_when_it_is_ingested_again(settings: Settings) -> None:
    (bad,) = received(settings, "POISON")
    while index(settings):
        pass
    ledger, spool = open_ledger(settings), Files(settings.spool.path)
    (path,) = spool.find(bad)
    stored = spool.ingest_file(path)
    assert not stored.new
    assert unreadable_files.take_up(ledger, spool.root, stored.path, time.time())
    assert not unreadable_files.take_up(ledger, spool.root, stored.path, time.time())
    assert states(ledger) == {}
    with ledger.read() as connection:
        assert standing_checks.unreadable(connection).ok
    assert not refuses(spool.root, path)
    ledger.close()


def test_a_file_that_kills_workers_after_it_was_indexed_is_named_by_its_exam(settings: Settings) -> None:
    uids = received(settings, "fine", "fine")
    assert index(settings) == 0
    ledger, spool = open_ledger(settings), Files(settings.spool.path)
    (path,) = spool.find(uids[0])
    for _ in range(2):
        read_by_another(spool.root, path, "abort")
    assert unreadable_files.judge_notes(spool.root, 5.0) == [] or unreadable_files.set_aside(spool.root)
    unreadable_files.report_to_ledger(ledger, spool.root, 5.0)
    unreadable_files.report_to_ledger(ledger, spool.root, 6.0)
    assert states(ledger) == {uids[0]: "unreadable", uids[1]: "stored"}
    with ledger.read() as connection:
        row = connection.execute(sa.select(studies)).one()
        shown = views.timeline(connection, row)
    assert [item["sop_instance_uid"] for item in shown["set_aside"]] == [uids[0]]
    assert [e["kind"] for e in shown["events"]].count("set-aside") == 1
    assert unreadable_files.take_up(ledger, spool.root, str(path.relative_to(spool.root)), 7.0)
    assert states(ledger) == {uids[0]: "stored", uids[1]: "stored"}
    ledger.close()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"key": "x"}', '{"key": "x", "aside": true, "deaths": 1}'])
def test_a_record_that_is_damaged_sets_nothing_aside_and_stops_nobody(settings: Settings, text: str) -> None:
    path = a_file(settings.spool.path)
    (settings.spool.path / reading_marker.ASIDE).mkdir()
    (settings.spool.path / reading_marker.ASIDE / f"{reading_marker.key_of(path)}.json").write_text(text)
    assert not refuses(settings.spool.path, path)
    ledger = open_ledger(settings)
    unreadable_files.report_to_ledger(ledger, settings.spool.path, 1.0)
    ledger.close()


def test_where_a_death_cannot_be_counted_for_lack_of_room_it_is_counted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path)
    read_by_another(tmp_path, path, "abort")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(unreadable_files, "_write_record", full)
        assert unreadable_files.judge_notes(tmp_path, 2.0) == []
    read_by_another(tmp_path, path, "abort")
    assert len(unreadable_files.judge_notes(tmp_path, 3.0)) + len(unreadable_files.set_aside(tmp_path)) > 0


# Whoever reads


READERS = {
    "the indexer": "from pipeline.catalog import read_facts as read",
    "feedback": "from daemon.feedback.assessment import read_assessment as read",
    "the analysis, of headers": "from pipeline.volumes.checked_header import read_header as read",
    "the analysis, of pixels": "from pipeline.volumes.pixels import decode; read = lambda p: list(decode(p, [None]))",
    "the comparison": "from pipeline.decoding import content_digest as read",
    "the report": "from dicom_sr.report_source import read_header as read",
}


@pytest.mark.parametrize("who", READERS)
def test_everyone_who_reads_a_file_of_others_notes_which(tmp_path: Path, who: str) -> None:
    path = a_file(tmp_path)
    data_set = mr_image("1.2.3.4")
    data_set.ImageComments = "POISON"
    path.write_bytes(part10(data_set))
    code = f"{DEADLY}\n{READERS[who]}\nfrom daemon.recovery import unreadable_files\n"
    code += "unreadable_files.start(Path(sys.argv[1]), 'a reader', 1.0)\nread(Path(sys.argv[2]))"
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", code, tmp_path, path], capture_output=True)
        assert ended.returncode == -signal.SIGABRT
    unreadable_files.judge_notes(tmp_path, 2.0)
    (record,) = unreadable_files.set_aside(tmp_path)
    assert record.sop_uid == "1.2.3.4"


def part10(data_set: Dataset) -> bytes:
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT_LE
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


# Commands without a daemon


def test_what_killed_an_extraction_twice_is_a_failure_of_its_exam_the_third_time(tmp_path: Path) -> None:
    for name, comment in (("a", "fine"), ("b", "POISON")):
        (tmp_path / "exams" / name).mkdir(parents=True)
        for number in (1, 2):
            data_set = mr_image(f"1.2.3.{number}")
            data_set.StudyInstanceUID = data_set.SeriesInstanceUID = f"1.2.{ord(name)}"
            data_set.SOPInstanceUID = f"1.2.{ord(name)}.{number}"
            data_set.ImageComments = comment if number == 1 else "fine"
            data_set.file_meta = FileMetaDataset()
            data_set.file_meta.TransferSyntaxUID = EXPLICIT_LE
            save(data_set, tmp_path / "exams" / name / f"{number}.dcm")
    run = DEADLY + "from daemon.main import main\nsys.argv = ['axrad', *sys.argv[1:]]\nmain()"
    table = tmp_path / "table.csv"
    arguments = [sys.executable, "-c", run, "extract", tmp_path / "exams", "--out", table]

    def extracted() -> int:
        return subprocess.run(arguments, capture_output=True, cwd=tmp_path).returncode

    assert [extracted() for _ in range(3)] == [-signal.SIGABRT, -signal.SIGABRT, 1]
    failed = {f["study_uid"]: f["code"] for f in json.loads((tmp_path / "table.csv.failed.json").read_text())["failed"]}
    assert failed["1.2.98"] == "unreadable"
    assert failed["1.2.97"] != "unreadable"
    assert (tmp_path / "table.csv.notes").is_dir()


@pytest.mark.parametrize("command", ["run", "match"])
def test_a_command_whose_reader_dies_names_the_file_and_the_signal(tmp_path: Path, command: str) -> None:
    for number in (1, 2, 3):
        data_set = mr_image(f"1.2.3.{number}")
        data_set.ImageComments = "POISON" if number == 2 else "fine"
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = EXPLICIT_LE
        (tmp_path / "exam").mkdir(exist_ok=True)
        save(data_set, tmp_path / "exam" / f"{number}.dcm")
    run = DEADLY + "from daemon.main import main\nsys.argv = ['axrad', *sys.argv[1:]]\nmain()"
    options = ["--out", tmp_path / "out"] if command == "run" else ["--json"]
    done = subprocess.run(
        [sys.executable, "-c", run, command, tmp_path / "exam", *options],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path / "exam" / "2.dcm") in done.stderr
    assert "Aborted" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) in (["exam"], ["exam", "out"])
