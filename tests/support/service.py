"""`axrad up` and a Redis as service managers run them: started again whenever they are gone, and never helped else."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from config.schema import Settings
from daemon.processes.supervisor import axrad_command
from tests.support.waiting import PATIENCE, Patience, wait_for
from tests.support.world import World


@dataclass
class Service:
    """`axrad up`, started again whenever it is gone."""

    config: Path
    settings: Settings
    world: World
    log: Path
    starts: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None

    def _run(self) -> None:
        command = [*axrad_command(), "up", "--config", str(self.config)]
        environ = {**os.environ, **self.world.environ, "OMP_NUM_THREADS": "1"}
        while not self._stop.is_set():
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
            self.starts += 1
            while self._process.poll() is None and not self._stop.wait(0.1):
                pass
            self._stop.wait(0.5)

    def restart(self) -> None:
        """End it in order, until another is in its place."""
        before = self.starts
        if self._process is not None:
            self._process.terminate()
        wait_for(lambda: self.starts > before, "another `axrad up`", ticks=2 * PATIENCE)

    def leave(self) -> list[str]:
        """End it in order. Who is left after that (nobody should be) is killed, and told by what it was."""
        self._stop.set()
        self._thread.join()
        assert self._process is not None
        self._process.terminate()
        patience = Patience()
        while left := self.world.processes():
            self._process.poll()
            if not patience.tick({process.pid for process in left}):
                break
        told = []
        for process in left:
            with suppress(psutil.NoSuchProcess):
                told.append(f"{process.pid}, child of {process.ppid()}: {' '.join(process.cmdline())}")
                process.kill()
        self._process.wait()
        return told

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="service")
        self._thread.start()


@dataclass
class RedisService:
    """A Redis of the hospital's, with a service manager of its own. It keeps nothing: restarted is emptied."""

    port: int
    held: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _run(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        while not self._stop.is_set():
            if not self.held.is_set() and (self.process is None or self.process.poll() is not None):
                self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            self._stop.wait(0.3)

    @contextmanager
    def running(self) -> Iterator[None]:
        manager = threading.Thread(target=self._run, name="redis")
        manager.start()
        try:
            yield
        finally:
            self._stop.set()
            manager.join()
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
