"""An intake host and a worker machine that share no folder: exams and results go over the intake host's endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.processes.demonstration import Archive
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.daemon import Daemon, destination, storescu
from tests.support.machines import database, machine, redis_server
from tests.support.postgres import free_port
from tests.support.waiting import wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("redis-server")]


@pytest.fixture
def house(postgres: str, tmp_path: Path) -> Iterator[tuple[Daemon, Daemon, Archive]]:
    """Intake host, worker machine, archive."""
    listen, share = free_port(), free_port()
    archive = Archive(tmp_path / "archive")
    with ExitStack() as stack:
        stack.callback(archive.stop)
        url = stack.enter_context(redis_server(tmp_path))
        ledger_url = database(postgres, "remote_worker")
        common = (
            f"[listen]\nport = {listen}\n[broker]\nurl = '{url}'\n[ledger]\nurl = '{ledger_url}'\n",
            destination(archive.port, ae_title="ARCHIVE"),
        )
        intake = stack.enter_context(
            machine(
                tmp_path / "intake",
                {"listen", "work-deliver", "work-sweep", "beat"},
                f"share_port = {share}\n",
                *common,
            )
        )
        remote = f'remote = "http://127.0.0.1:{share}"\n'
        worker = stack.enter_context(machine(tmp_path / "worker", {"work-analyse"}, remote, *common))
        wait_for_listener(listen)
        yield intake, worker, archive


def test_an_exam_is_analysed_and_reported_by_a_worker_that_does_not_have_the_spool(
    house: tuple[Daemon, Daemon, Archive], tmp_path: Path
) -> None:
    intake, worker, archive = house
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=7, preset="small"))
    storescu(intake.port, exam.folder)
    intake.wait_for(exam.study_uid, "delivered")
    result = intake.result(exam.study_uid)
    (report,) = archive.reports()
    assert result.status == "evaluated"
    assert check_report((intake.results(exam.study_uid)[-1] / "sr.dcm").read_bytes(), result) == []
    # The exam was there, under names that tell nothing, and only copies of it; what was made there is here.
    copies = worker.settings.spool.path / "copies"
    assert len(list(copies.glob("instances/*/*/*.dcm"))) > 0
    assert not (worker.settings.spool.path / "instances").exists()
    assert not (worker.settings.spool.path / "results").exists()
    assert not (intake.settings.spool.path / "copies").exists()
    assert report.stat().st_size > 0
