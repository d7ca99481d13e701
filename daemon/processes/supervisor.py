"""`axrad up`: every process on this machine, started in order, restarted when one dies, ended in order."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from config.schema import Settings
from daemon import metrics
from daemon.broker.server import EmbeddedBroker
from daemon.ledger import open_ledger
from daemon.machine.file_lock import FileLock
from daemon.machine.kept_process import Ended, KeptProcess, NotStarted, Pauses
from daemon.machine.parent_watch import following
from daemon.recovery import unreadable_files
from pipeline.errors import AxradError, InputRejected

log = structlog.get_logger("axrad.up")
CHILD_STOP_S = 20.0
PAUSES = Pauses(first_s=0.5, longest_s=30.0, quick_s=30.0)


Child = KeptProcess["subprocess.Popen[bytes]"]


def axrad_command() -> list[str]:
    """How to call ourselves: the console script beside this Python, else through the interpreter."""
    script = Path(sys.executable).with_name("axrad")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from daemon.main import main; main()"]


class Supervisor:
    """Starts children with one configuration and keeps them running. They write to `output`, else to our own output."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path | None,
        flower: bool,
        environ: Mapping[str, str] | None = None,
        output: Path | None = None,
        console: bool = False,
    ) -> None:
        self._settings = settings
        self._config = ["--config", str(config_path)] if config_path else []
        self._output = output
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._lock = FileLock(settings.spool.path.parent / "up.lock")
        self._broker = None if settings.broker.url else EmbeddedBroker(settings)
        self.children = [
            self._child("listen", "listen"),
            self._child("work-analyse", "work", "--role", "analyse", environ=_threads(settings)),
            self._child("work-deliver", "work", "--role", "deliver"),
            self._child("work-sweep", "work", "--role", "sweep"),
            self._child("beat", "beat"),
        ]
        if settings.metrics.enabled:
            self.children.append(self._child("observe", "observe"))
        if flower:
            self.children.append(self._child("flower", "flower"))
        if console:
            self.children.append(self._child("console", "console"))

    def _child(self, name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Child:
        def start() -> subprocess.Popen[bytes]:
            return self._spawn(arguments, environ or {})

        return KeptProcess(name, start, subprocess.Popen.poll, PAUSES)

    def start(self) -> None:
        """Start the broker, then the ledger, then the processes that use them.

        Raises InputRejected if another `axrad up` runs beside the same spool.
        """
        if not self._lock.acquire():
            folder = self._lock.path.parent
            raise InputRejected(f"another `axrad up` runs beside the spool in {folder}", code="already-running")
        metrics.clear(self._settings)
        if self._broker is not None:
            self._broker.start()
        open_ledger(self._settings).close()
        for child in self.children:
            child.launch()

    def _spawn(self, arguments: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._output.open("ab") if self._output else contextlib.nullcontext() as output:
            return subprocess.Popen(
                [*axrad_command(), *arguments, *self._config],
                env={**self._environ, **following(), **environ},
                stdout=output,
                stderr=output and subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us; we end the others in order
            )

    def watch(self, stop: threading.Event) -> None:
        """Until `stop`: start again every process that ends."""
        while not stop.wait(0.5):
            if self._broker is not None:
                self._tend_broker(self._broker)
            for child in self.children:
                self._tend(child)

    def _tend(self, child: Child) -> None:
        match child.tend():
            case Ended(exit_code=code):
                log.error("process-died", name=child.name, exitcode=code)
            case NotStarted(error=error):
                reason = errno.errorcode.get(error.errno or 0, "OSError")
                log.error("process-does-not-start", name=child.name, error=reason)

    def _tend_broker(self, broker: EmbeddedBroker) -> None:
        try:
            broker.tend()
        except AxradError as error:
            log.error("broker-does-not-start", code=error.code)

    def stop(self) -> None:
        """Intake and beat first, so that nothing new starts; then all else (workers finish what they hold); broker."""
        first = [c for c in self.children if c.name in ("listen", "beat")]
        for group in (first, [c for c in self.children if c not in first]):
            running = [c for c in group if c.process is not None and c.process.poll() is None]
            for child in running:
                if child.process is not None:
                    child.process.terminate()
            for child in running:
                self._wait(child)
        if self._broker is not None:
            self._broker.stop()
        self._lock.release()

    def _wait(self, child: Child) -> None:
        process = child.process
        assert process is not None
        try:
            process.wait(CHILD_STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("process-killed", name=child.name)
            unreadable_files.discard_notes_of(self._settings.spool.path, process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _threads(settings: Settings) -> dict[str, str]:
    """Thread counts that keep worker processes from fighting for the cores."""
    share = settings.work.threads or max(1, (os.cpu_count() or 1) // settings.work.processes)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    return {name: str(share) for name in names}


def wait_for_port(host: str, port: int, timeout_s: float) -> bool:
    """Whether somebody listens there within the time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with socket.create_connection((host, port), timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False
