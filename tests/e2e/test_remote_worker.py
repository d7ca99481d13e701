"""An intake host and a worker machine that share no folder: exams and results go over the intake host's endpoint."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from config.load import load
from daemon.broker import ping
from daemon.demonstration import Archive
from daemon.ledger import open_ledger
from daemon.supervisor import Supervisor, wait_for_port
from dicom_sr.check import check_report
from pipeline.errors import PeerUnreachable
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.daemon import Daemon, destination, storescu
from tests.support.postgres import free_port

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("redis-server")]
TOKEN = "a-token-that-nobody-guesses"


@contextmanager
def redis_with_password(folder: Path) -> Iterator[str]:
    port, password = free_port(), "not-the-token"
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--requirepass",
        password,
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        for _ in range(100):
            try:
                ping(url)
                break
            except PeerUnreachable:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def database(server: str) -> Iterator[str]:
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE remote_worker"))
    engine.dispose()
    yield f"{server}/remote_worker"


@contextmanager
def machine(folder: Path, names: set[str], spool: str, *tables: str) -> Iterator[Daemon]:
    """Those processes of `axrad up` on a machine of their own: its folder, its configuration."""
    folder.mkdir()
    config = folder / "axrad.toml"
    config.write_text(
        f'[spool]\npath = "spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n{spool}'
        "[assembly]\nquiet_s = 1\nsweep_s = 0.3\n[work]\nbackoff_s = 1.0\nlease_s = 30\n"
        '[log]\nlevel = "warning"\nformat = "json"\n[metrics]\nenabled = false\n' + "".join(tables),
        encoding="utf-8",
    )
    token = {"AXRAD_SPOOL__SHARE_TOKEN": TOKEN}
    settings = load(config, environ=token)
    supervisor = Supervisor(settings, config, flower=False, environ=token)
    supervisor.children[:] = [child for child in supervisor.children if child.name in names]
    assert len(supervisor.children) == len(names)
    stop = threading.Event()
    ledger = open_ledger(settings)
    supervisor.start()
    watcher = threading.Thread(target=supervisor.watch, args=(stop,))
    watcher.start()
    try:
        yield Daemon(folder, config, settings, ledger, supervisor)
    finally:
        stop.set()
        watcher.join()
        supervisor.stop()
        ledger.close()


@pytest.fixture
def house(postgres: str, tmp_path: Path) -> Iterator[tuple[Daemon, Daemon, Archive]]:
    """Intake host, worker machine, archive."""
    listen, share = free_port(), free_port()
    archive = Archive(tmp_path / "archive")
    with ExitStack() as stack:
        stack.callback(archive.stop)
        url = stack.enter_context(redis_with_password(tmp_path))
        ledger_url = stack.enter_context(database(postgres))
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
        assert wait_for_port("127.0.0.1", listen, 90)
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
