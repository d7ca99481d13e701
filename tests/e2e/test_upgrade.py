"""An upgrade as operators do it: each process restarted in turn, then `axrad up` itself, while exams come in and are
worked on; and a backup that becomes a working daemon on another machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.load import load
from daemon.ledger import open_ledger, studies, views
from daemon.processes.supervisor import axrad_command
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.result import StudyResult
from tests.support.daemon import destination
from tests.support.faulty_archive import Archive, archive
from tests.support.postgres import free_port
from tests.support.senders import Sender
from tests.support.waiting import PATIENCE, wait_for, wait_for_end, wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(600)]
# What `axrad up` starts, by the end of its command line before the settings.
PROCESSES = ("listen", "work --role analyse", "work --role deliver", "work --role sweep", "beat")
SETTINGS = """
[spool]
path = "spool"
warn_free_bytes = 1
refuse_free_bytes = 1
[listen]
port = {port}
[assembly]
quiet_s = 2
sweep_s = 0.5
[work]
backoff_s = 0.5
lease_s = 10
[features]
set = "signature"
[log]
format = "json"
[metrics]
enabled = false
"""


@dataclass
class Machine:
    """A folder with settings, and `axrad up` in it as a service manager has it."""

    folder: Path
    pacs: Archive
    port: int = field(default_factory=free_port)
    up: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.config = self.folder / "axrad.toml"
        table = destination(self.pacs.port, ae_title="ARCHIVE", proof="readback")
        self.config.write_text(SETTINGS.format(port=self.port) + table, encoding="utf-8")
        self.settings = load(self.config, environ={})

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [*axrad_command(), "up", "--config", str(self.config)]
            environ = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.up = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        wait_for_listener(self.port, self.log)

    def stop(self) -> int:
        assert self.up is not None
        self.up.terminate()
        code, self.up = wait_for_end(self.up), None
        return code

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def axrad(self, *arguments: str) -> str:
        done = subprocess.run(
            [*axrad_command(), *arguments, "--config", str(self.config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def process(self, name: str) -> psutil.Process | None:
        """A child of `axrad up`."""
        assert self.up is not None
        for child in psutil.Process(self.up.pid).children():
            try:
                if f"axrad {name} --config" in " ".join(child.cmdline()):
                    return child
            except psutil.NoSuchProcess:
                continue
        return None

    def restart(self, name: str) -> None:
        """Ask it to end, as an upgrade does, and see another in its place."""
        before = wait_for(lambda: self.process(name), name)
        before.terminate()
        wait_for(lambda: (new := self.process(name)) is not None and new.pid != before.pid, f"a new {name}")

    def study(self, study_uid: str) -> dict[str, Any]:
        ledger = open_ledger(self.settings)
        with ledger.read() as connection:
            row = studies.find(connection, study_uid)
            found = {} if row is None else views.timeline(connection, row)
        ledger.close()
        return found

    def wait_for_delivered(self, exams: list[PhantomExam]) -> None:
        states: dict[str, Any] = {}

        def delivered() -> bool:
            states.update({exam.study_uid: self.study(exam.study_uid).get("state") for exam in exams})
            return set(states.values()) == {"delivered"}

        wait_for(delivered, "every exam to be delivered", moves=lambda: dict(states), ticks=3 * PATIENCE, pause_s=0.5)


@contextmanager
def machine(folder: Path, pacs: Archive) -> Iterator[Machine]:
    ours = Machine(folder, pacs)
    try:
        yield ours
    finally:
        if ours.up is not None:
            ours.stop()


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> list[PhantomExam]:
    folder = tmp_path_factory.mktemp("exams")
    seeds = range(60, 60 + len(PROCESSES) + 2)
    return [write_exam(folder / str(n), PhantomSpec(seed=n, preset="small")) for n in seeds]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory, exams: list[PhantomExam]) -> Iterator[tuple[Machine, Archive]]:
    """One exam is on its way whenever a process is restarted; the last while `axrad up` is replaced."""
    with archive() as pacs, machine(tmp_path_factory.mktemp("upgrade") / "first", pacs) as ours:
        ours.start()
        senders = []
        for name, exam in zip([*PROCESSES, "up"], exams, strict=False):
            sender = Sender("SCANNER", ours.port, exam.paths)
            sender.start()
            senders.append(sender)
            wait_for(lambda uid=exam.study_uid: ours.study(uid), "the exam to come in")
            if name == "up":
                assert ours.stop() == 0, ours.log()
                ours.start()
            else:
                ours.restart(name)
        for sender in senders:
            sender.join()
            assert sorted(sender.acknowledged) == sorted(sender.files)
        yield ours, pacs


def test_a_rolling_restart_loses_no_exam_and_reports_each_once(
    upgraded: tuple[Machine, Archive], exams: list[PhantomExam]
) -> None:
    ours, pacs = upgraded
    ours.wait_for_delivered(exams[:-1])
    reports = pacs.reports()
    assert {exam.study_uid for exam in exams[:-1]} == set(reports)
    for exam in exams[:-1]:
        found = ours.study(exam.study_uid)
        assert found["instances"] == len(exam.paths)
        assert not [event for event in found["events"] if event["kind"] == "failed"]
        assert len(reports[exam.study_uid]) == found["revision"], "a report per revision, and no more"
        right(ours, pacs, found)


def right(ours: Machine, pacs: Archive, found: dict[str, Any]) -> None:
    """The newest report in the archive has the numbers of the newest result."""
    folder = ours.settings.spool.path / "results" / found["revisions"][-1]["id"]
    (kept,) = set(pacs.kept[uid_of(folder / "sr.dcm")])
    assert check_report(kept, StudyResult.from_json((folder / "result.json").read_bytes())) == []


def uid_of(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def test_a_backup_becomes_a_working_daemon_on_another_machine(
    upgraded: tuple[Machine, Archive], exams: list[PhantomExam], tmp_path: Path
) -> None:
    ours, pacs = upgraded
    ours.wait_for_delivered(exams[:-1])
    before = ours.study(exams[0].study_uid)
    ours.axrad("backup", "--out", str(tmp_path / "axrad.tar"))
    ours.stop()
    with machine(tmp_path / "other", pacs) as other:
        assert "are back" in other.axrad("restore", str(tmp_path / "axrad.tar"))
        other.start()
        sender = Sender("SCANNER", other.port, exams[-1].paths)
        sender.start()
        assert other.study(exams[0].study_uid) == before, "state, timeline and proof as they were"
        sent = len(pacs.kept[uid_of(report_of(other, before))])
        other.axrad("deliver", before["id"])
        wait_for(lambda: len(pacs.kept[uid_of(report_of(other, before))]) > sent, "the report to be sent again")
        sender.join()
        other.wait_for_delivered(exams)
        right(other, pacs, other.study(exams[0].study_uid))
        right(other, pacs, other.study(exams[-1].study_uid))


def report_of(machine: Machine, found: dict[str, Any]) -> Path:
    return machine.settings.spool.path / "results" / str(found["revisions"][-1]["id"]) / "sr.dcm"
