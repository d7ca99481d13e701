"""A command that is killed at any moment leaves no process behind, and nobody waits for its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless

from pipeline.phantom import PhantomSpec, write_exam
from tests.support.waiting import PATIENCE, wait_for

MARK = "AXRAD_TEST_MARK"
AXRAD = [sys.executable, "-c", "from daemon.main import main; main()"]


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exam whose images are compressed, so that there is a process that decodes."""
    made = write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=31, preset="small"))
    for path in made.folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if ds.Modality == "MR":
            ds.compress(JPEGLSLossless, generate_instance_uid=False)
            ds.save_as(path)
    return made.folder


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def killed(arguments: list[str], moment: Callable[[str, subprocess.Popen[bytes]], None]) -> None:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [*AXRAD, *arguments],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        moment(mark, process)
        process.send_signal(signal.SIGKILL)
        # The end of its output: nobody else holds the pipe.
        process.communicate()
        wait_for(lambda: not marked(mark), "every process to end", moves=lambda: len(marked(mark)), ticks=2 * PATIENCE)
    finally:
        for leftover in [*marked(mark)]:
            leftover.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def after(seconds: float) -> Callable[[str, subprocess.Popen[bytes]], None]:
    return lambda mark, process: time.sleep(seconds)


def with_processes(count: int) -> Callable[[str, subprocess.Popen[bytes]], None]:
    """As soon as there are so many, or it has ended."""

    def wait(mark: str, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and len(marked(mark)) < count:
            time.sleep(0.01)

    return wait


MOMENTS = [with_processes(2), with_processes(3), with_processes(4), *map(after, (0.4, 1.0, 1.6, 2.2, 3.0))]


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


NAMES = ["two processes", "three", "four", "0.4 s", "1.0 s", "1.6 s", "2.2 s", "3.0 s"]


@pytest.mark.parametrize("moment", MOMENTS, ids=NAMES)
def test_run_that_is_killed_leaves_no_process(
    exam: Path, tmp_path: Path, moment: Callable[[str, subprocess.Popen[bytes]], None]
) -> None:
    killed(["run", str(exam), "--out", str(tmp_path / "out")], moment)


@pytest.mark.parametrize("moment", [MOMENTS[n] for n in (0, 1, 5, 7)], ids=[NAMES[n] for n in (0, 1, 5, 7)])
def test_extract_that_is_killed_leaves_no_process(
    exam: Path, tmp_path: Path, moment: Callable[[str, subprocess.Popen[bytes]], None]
) -> None:
    killed(["extract", str(exam), "--out", str(tmp_path / "table.csv")], moment)


def guards_of(pid: int) -> list[psutil.Process]:
    """The shells that end the broker of a process. Between fork and exec a child has its parent's command line."""
    return [p for p in psutil.Process(pid).children() if "axrad-guard" in p.cmdline()]


def test_the_broker_of_one_that_is_killed_ends(tmp_path: Path) -> None:
    """Also where no `axrad up` comes after it to end what was left: after a demo."""
    code = (
        "import sys; from config.schema import Settings; from daemon.broker import server\n"
        "from daemon.machine import parent_watch\n"
        "parent_watch.KILL_AFTER_S = 0.1\n"
        "made = server.EmbeddedBroker(Settings.model_validate({'spool': {'path': sys.argv[1]}}))\n"
        "made.start(); print(made._folder, server._listener_of(made._folder / server.SOCKET), flush=True)\n"
        "sys.stdin.read(); made.stop()"
    )
    for orderly in (True, False):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "spool")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            folder, pid = process.stdout.readline().decode().split()
            server = psutil.Process(int(pid))
            guards = wait_for(partial(guards_of, process.pid), "the guard of the broker")
            assert len(guards) == 1
            if orderly:
                process.communicate()
            else:
                process.kill()
        ends = (server, *guards)
        wait_for(lambda ends=ends: not any(map(alive, ends)), "the broker to end", ticks=2 * PATIENCE)
        assert not Path(folder).exists()
