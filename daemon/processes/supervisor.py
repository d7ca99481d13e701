"""`axrad up`: every process on this machine, started in order, restarted when one dies, ended in order."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from config.schema import Settings
from daemon import metrics
from daemon.broker.server import EmbeddedBroker
from daemon.ledger import open_ledger
from daemon.machine.parent_watch import following
from daemon.recovery import unreadable_files
from pipeline.errors import AxradError, InputRejected

log = structlog.get_logger("axrad.up")
STOP_S = 20.0
QUICK_S = 30.0
MAX_PAUSE_S = 30.0


@dataclass
class Child:
    """One process of ours. `failures` counts quick deaths in a row: every one doubles the pause to `not_before`."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    environ: Mapping[str, str] = field(default_factory=dict)


def axrad_command() -> list[str]:
    """How to call ourselves: the console script beside this Python, else through the interpreter."""
    script = Path(sys.executable).with_name("axrad")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from daemon.main import main; main()"]


class Supervisor:
    """Starts children with one configuration and keeps them running. What they say goes to `output`, else our own."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path | None,
        flower: bool,
        environ: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        self._settings = settings
        self._config = ["--config", str(config_path)] if config_path else []
        self._output = output
        self._environ = {**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._only = _OnlyOne(settings.spool.path.parent)
        self._broker = None if settings.broker.url else EmbeddedBroker(settings)
        self.children = [
            Child("listen", ["listen"]),
            Child("work-analyse", ["work", "--role", "analyse"], environ=_threads(settings)),
            Child("work-deliver", ["work", "--role", "deliver"]),
            Child("work-sweep", ["work", "--role", "sweep"]),
            Child("beat", ["beat"]),
        ]
        if settings.metrics.enabled:
            self.children.append(Child("observe", ["observe"]))
        if flower:
            self.children.append(Child("flower", ["flower"]))

    def start(self) -> None:
        """Broker first, then the ledger, then who uses them.

        Raises InputRejected if another `axrad up` runs beside the same spool.
        """
        self._only.acquire()
        metrics.clear(self._settings)
        if self._broker is not None:
            self._broker.start()
        open_ledger(self._settings).close()
        for child in self.children:
            self._spawn(child)

    def _spawn(self, child: Child) -> None:
        with self._output.open("ab") if self._output else contextlib.nullcontext() as said:
            child.process = subprocess.Popen(
                [*axrad_command(), *child.arguments, *self._config],
                env={**self._environ, **following(), **child.environ},
                stdout=said,
                stderr=said and subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us; we end the others in order
            )
        child.started_at = time.monotonic()

    def watch(self, stop: threading.Event) -> None:
        """Until `stop`: start again what died, each after a pause that grows with every quick death of it."""
        while not stop.wait(0.5):
            if self._broker is not None:
                self._tend_broker(self._broker)
            for child in self.children:
                self._tend(child)

    def _tend(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.not_before:
                self._spawn_or_wait(child, now)
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        child.failures = child.failures + 1 if now - child.started_at < QUICK_S else 0
        child.not_before = now + _pause_s(child)
        log.error("process-died", name=child.name, exitcode=code)

    def _spawn_or_wait(self, child: Child, now: float) -> None:
        """What the machine lacks for a process (descriptors, memory, room for its log) may be there in a while."""
        try:
            self._spawn(child)
        except OSError as error:
            child.failures += 1
            child.not_before = now + _pause_s(child)
            log.error("process-does-not-start", name=child.name, error=errno.errorcode.get(error.errno or 0, "OSError"))

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
        self._only.release()

    def _wait(self, child: Child) -> None:
        process = child.process
        assert process is not None
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("process-killed", name=child.name)
            unreadable_files.excuse(self._settings.spool.path, process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _pause_s(child: Child) -> float:
    """Before it is started again."""
    return min(MAX_PAUSE_S, 0.5 * 2.0 ** min(child.failures, 10))


class _OnlyOne:
    """The lock that makes this the only `axrad up` beside a spool. A kill lets go of it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "up.lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise InputRejected(
                f"another `axrad up` runs beside the spool in {self._path.parent}", code="already-running"
            ) from error
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


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
