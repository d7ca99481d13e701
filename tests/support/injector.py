"""Does to a running daemon what a schedule of faults says."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
import sqlalchemy as sa

from daemon.broker.redis_client import SOCKET_SCHEME
from daemon.broker.server import broker_url
from pipeline.errors import PeerUnreachable
from tests.support.faulty_archive import Archive, Mood
from tests.support.schedule import Fault
from tests.support.senders import Poisoner
from tests.support.service import RedisService, Service
from tests.support.waiting import OwnClock, Patience, own_clock

# Ticks for which a fault waits for somebody of the role who died before.
NOBODY = 150
# What a destination is called after it was renamed.
NEW_NAME = "archive"


@dataclass
class Injector:
    """Does to a service what a schedule says, and notes what it did. `redis`: where the broker is not embedded."""

    service: Service
    archive: Archive
    rng: random.Random
    redis: RedisService | None = None
    done: list[str] = field(default_factory=list)
    poisoned: list[Poisoner] = field(default_factory=list)
    clock: OwnClock = field(default_factory=own_clock)
    _began: float = 0.0

    def run(self, faults: Sequence[Fault]) -> None:
        """All of them, at their times; returns when the last has ended."""
        self._began = self.clock.now()
        threads = [threading.Thread(target=self._one, args=(fault,)) for fault in faults]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def note(self, text: str) -> None:
        self.done.append(f"{self.clock.now() - self._began:6.1f} s  {text}")

    def _one(self, fault: Fault) -> None:
        self.clock.sleep(fault.at_s)
        self.inject(fault)

    def inject(self, fault: Fault) -> None:
        """This one, now; returns when it has ended."""
        what, _, whom = fault.kind.partition(" ")
        acts: dict[str, Callable[[Fault], None]] = {
            "broker silent": self._broker_silent,
            "broker emptied": self._broker_emptied,
            "broker readonly": self._broker_readonly,
            "broker full": self._broker_full,
            "ledger locked": self._ledger_locked,
            "disk full": lambda fault: self._full(self.service.world.fill_disk, fault),
            "disk of the ledger full": lambda fault: self._full(self.service.world.fill_ledgers_disk, fault),
            "descriptors exhausted": self._descriptors_exhausted,
            "temporary files cleaned": lambda _: empty(self.service.world.temporary),
            "results vanish": self._results_vanish,
            "clock jumps": self._clock_jumps,
            "clock falls": self._clock_jumps,
            "destination renamed": lambda _: self._renamed(),
        }
        some: dict[str, Callable[[str, Fault], None]] = {
            "kill": lambda role, _: self._kill(role),
            "stop": self._stopped,
            "archive": self._mood,
            "poison": lambda kind, _: self._poison(kind),
        }
        with self._lasting(fault):
            if fault.kind in acts:
                acts[fault.kind](fault)
            elif what in some:
                some[what](whom, fault)
            else:
                self.note(f"{fault.kind} goes on all day")

    @contextmanager
    def _lasting(self, fault: Fault) -> Iterator[None]:
        self.note(f"{fault.kind} {fault.seconds or fault.amount or ''}")
        yield
        if fault.seconds:
            self.note(f"end of {fault.kind}")

    def _one_of(self, role: str) -> psutil.Process | None:
        patience = Patience(NOBODY, self.clock)
        while not (found := sorted(self.service.world.processes(role), key=lambda p: p.pid)):
            if not patience.tick():
                self.note(f"{role}: none runs")
                return None
        return self.rng.choice(found)

    def _kill(self, role: str) -> None:
        if role == "broker" and self.redis is not None:
            self.redis.kill()
        elif (process := self._one_of(role)) is not None:
            self.note(f"kill -9 {role} {process.pid}")
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _stopped(self, role: str, fault: Fault) -> None:
        """It stands still, and wakes up to a world that went on without it."""
        if (process := self._one_of(role)) is None:
            return
        self.note(f"kill -STOP {role} {process.pid}")
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self.clock.sleep(fault.seconds)
            process.resume()

    def _mood(self, mood: str, fault: Fault) -> None:
        moods: dict[str, Mood] = {"refuse": "refuse", "hang": "hang", "drop": "drop"}
        self.archive.mood = moods[mood]
        self.clock.sleep(fault.seconds)
        self.archive.mood = "well"

    def _broker_silent(self, fault: Fault) -> None:
        if self.redis is not None:
            self.redis.held.set()
            self.redis.kill()
            self.clock.sleep(fault.seconds)
            self.redis.held.clear()
            return
        found = self.service.world.processes("broker")
        for process in found:
            process.send_signal(signal.SIGSTOP)
        self.clock.sleep(fault.seconds)
        for process in found:
            if process.is_running():
                process.send_signal(signal.SIGCONT)

    @contextmanager
    def _asking_broker(self) -> Iterator[redis.Redis]:
        try:
            url = broker_url(self.service.settings).replace(SOCKET_SCHEME, "unix://", 1)
            client = redis.Redis.from_url(url, socket_timeout=2)
            yield client
            client.close()
        except (redis.RedisError, PeerUnreachable) as error:
            self.note(f"the broker could not be asked: {type(error).__name__}")

    def _broker_emptied(self, fault: Fault) -> None:
        with self._asking_broker() as client:
            client.flushall()

    def _broker_readonly(self, fault: Fault) -> None:
        """A replica of nobody; its primary has failed over elsewhere."""
        with self._asking_broker() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            self.clock.sleep(fault.seconds)
            client.execute_command("REPLICAOF", "NO", "ONE")

    def _broker_full(self, fault: Fault) -> None:
        with self._asking_broker() as client:
            client.config_set("maxmemory", 1)
            self.clock.sleep(fault.seconds)
            client.config_set("maxmemory", 0)

    def _ledger_locked(self, fault: Fault) -> None:
        if self.service.settings.ledger.url:
            self._postgres_locked(self.service.settings.ledger.url, fault.seconds)
            return
        path = self.service.settings.spool.path.parent / "ledger.sqlite"
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        self.clock.sleep(fault.seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def _postgres_locked(self, url: str, seconds: float) -> None:
        """Every table is locked, and at the end every connection is cut."""
        engine = sa.create_engine(url)
        # With the order in which the daemon locks rows there may be a circle, and this end of it may have to give in.
        while True:
            with suppress(sa.exc.ProgrammingError), engine.begin() as connection:
                connection.execute(
                    sa.text("LOCK TABLE instances, studies, revisions, deliveries IN ACCESS EXCLUSIVE MODE")
                )
                self.clock.sleep(seconds)
                break
        with engine.begin() as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        engine.dispose()

    def _full(self, fill: Callable[[bool], None], fault: Fault) -> None:
        fill(True)
        self.clock.sleep(fault.seconds)
        fill(False)

    def _clock_jumps(self, fault: Fault) -> None:
        self.service.world.move_clock(fault.amount)

    def _descriptors_exhausted(self, fault: Fault) -> None:
        """No process may open one more than it has open."""
        before: list[tuple[psutil.Process, tuple[int, int]]] = []
        for process in self.service.world.processes():
            with suppress(psutil.NoSuchProcess):
                limits = process.rlimit(psutil.RLIMIT_NOFILE)
                process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
                before.append((process, limits))
        self.clock.sleep(fault.seconds)
        # Those that were started meanwhile have it from who started them.
        usual = max((limits for _, limits in before), default=None)
        for process in self.service.world.processes() if usual else ():
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_NOFILE, usual)

    def _results_vanish(self, fault: Fault) -> None:
        """Put where a test finds them, and the daemon does not."""
        folder = self.service.settings.spool.path / "results"
        with suppress(FileNotFoundError):
            folder.rename(self.service.world.root / f"vanished-{len(self.done)}")

    def _poison(self, kind: str) -> None:
        if kind != "slice":
            study = f"1.2.826.0.1.{len(self.done)}.{len(self.poisoned)}"
            sender = Poisoner(self.service.settings.listen.port, kind, study)
            self.poisoned.append(sender)
            sender.start()

    def _renamed(self) -> None:
        """The same archive under another name, after a restart; an operator says what is to go there."""
        text = self.service.config.read_text(encoding="utf-8")
        self.service.config.write_text(text.replace('name = "pacs"', f'name = "{NEW_NAME}"'), encoding="utf-8")
        self.service.restart()


def empty(folder: Path) -> None:
    """Everything in it is gone; the folder itself stays."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
