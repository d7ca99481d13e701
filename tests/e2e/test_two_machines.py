"""Two worker machines without the spool, on PostgreSQL and a Redis with a password; one of them loses its power."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.ledger.tables import events, revisions
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import Daemon, destination, storescu
from tests.support.faulty_archive import Archive, archive
from tests.support.machines import WorkerMachine, database, machine, naming, redis_server, worker_machine
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for, wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("redis-server")]
LEASE_S = 6


@dataclass
class Hospital:
    intake: Daemon
    workers: dict[str, WorkerMachine]
    archive: Archive

    def owners(self) -> set[str]:
        """Host names of those who hold an exam now."""
        with self.intake.ledger.read() as connection:
            found = connection.execute(sa.select(revisions.c.owner).where(revisions.c.owner.is_not(None))).scalars()
            return {str(owner).split(":")[0] for owner in found}

    def wait_for_owner(self, name: str) -> None:
        wait_for(lambda: name in self.owners(), f"{name} to take an exam", moves=self.attempts, ticks=2 * PATIENCE)

    def attempts(self) -> list[str]:
        with self.intake.ledger.read() as connection:
            return list(connection.execute(sa.select(events.c.detail).where(events.c.kind == "started")).scalars())


@pytest.fixture
def hospital(postgres: str, tmp_path: Path) -> Iterator[Hospital]:
    if not naming():
        pytest.skip("host names of their own need unshare(1) and the right to use it")
    listen, share = free_port(), free_port()
    with ExitStack() as stack:
        pacs = stack.enter_context(archive())
        broker = stack.enter_context(redis_server(tmp_path))
        common = (
            f'[listen]\nport = {listen}\n[broker]\nurl = "{broker}"\n'
            f'[ledger]\nurl = "{database(postgres, "two_machines")}"\n[features]\nset = "signature"\n',
            destination(pacs.port, ae_title="ARCHIVE", proof="readback"),
        )
        names = {"listen", "work-deliver", "work-sweep", "beat"}
        shared = f"share_port = {share}\n"
        intake = stack.enter_context(machine(tmp_path / "intake", names, shared, *common, lease_s=LEASE_S))
        remote = f'remote = "http://127.0.0.1:{share}"\n'
        workers = {
            name: stack.enter_context(worker_machine(tmp_path / name, name, remote, *common, lease_s=LEASE_S))
            for name in ("worker-a", "worker-b")
        }
        wait_for_listener(listen)
        yield Hospital(intake, workers, pacs)


def test_exams_of_a_worker_machine_that_loses_its_power_are_done_by_the_other(
    hospital: Hospital, tmp_path: Path
) -> None:
    exams = [write_exam(tmp_path / str(n), PhantomSpec(seed=40 + n, preset="small")) for n in range(4)]
    storescu(hospital.intake.port, *(exam.folder for exam in exams))
    hospital.wait_for_owner("worker-b")
    hospital.wait_for_owner("worker-a")
    hospital.workers["worker-a"].cut()
    for exam in exams:
        hospital.intake.wait_for(exam.study_uid, "delivered")
    assert "attempt 2" in hospital.attempts(), "nobody took over what the machine held"
    assert hospital.workers["worker-b"].copies, "it has files of its own, not the intake's"
    assert_one_right_report_each(hospital, exams)


def assert_one_right_report_each(hospital: Hospital, exams: list[PhantomExam]) -> None:
    reports = hospital.archive.reports()
    assert set(reports) == {exam.study_uid for exam in exams}
    for exam in exams:
        (uid,) = reports[exam.study_uid]
        result = hospital.intake.result(exam.study_uid)
        assert result.status == "evaluated"
        assert check_report(hospital.archive.kept[uid][0], result) == []
