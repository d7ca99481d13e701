"""A hospital's bad day for the whole daemon: senders that go on, and faults by a schedule that a seed reproduces.

`axrad up` runs as a service manager would run it: when it is gone, it is started again, and nothing else is ever done
to help it. Everything that it starts is known by a variable in its environment, so that a test can pick whom to kill,
and can tell afterwards whether anybody is left.
"""

from __future__ import annotations

import functools
import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
import sqlalchemy as sa

from config.schema import Settings
from daemon.broker import SOCKET_SCHEME, broker_url
from daemon.supervisor import axrad_command
from pipeline.errors import PeerUnreachable
from tests.support.faulty_archive import Archive, Mood
from tests.support.waiting import PATIENCE, OwnClock, Patience, own_clock

MARK = "FAULTS_CONTROL"
# Ticks for which a killer waits for somebody of the role who died before him.
NOBODY = 150
ROLES = ("up", "listen", "acceptor", "indexer", "analyse", "analyse-child", "deliver", "sweep", "beat", "broker")


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s` of the day's own clock, for `seconds` where it lasts. `amount`: by how many seconds the clock jumps."""

    at_s: float
    kind: str
    seconds: float = 0.0
    amount: float = 0.0


def schedule(seed: int, span_s: float) -> tuple[Fault, ...]:
    """Every kind of fault, in an order and at times that the seed decides.

    A worker is killed no more often than an exam has attempts, minus one: whoever dies with the same exam three times
    is meant to be set aside.
    """
    rng = random.Random(seed)
    pot: list[tuple[str, float, float]] = [(f"kill {role}", 0, 0) for role in ROLES if role != "analyse-child"]
    pot += [("kill listen", 0, 0), ("kill acceptor", 0, 0), ("kill analyse-child", 0, 0), ("kill deliver", 0, 0)]
    pot += [("broker silent", rng.uniform(2, 6), 0), ("broker emptied", 0, 0), ("broker emptied", 0, 0)]
    pot += [("ledger locked", rng.uniform(2, 5), 0), ("disk full", rng.uniform(2, 5), 0)]
    pot += [(f"archive {mood}", rng.uniform(3, 6), 0) for mood in ("refuse", "hang", "drop")]
    pot += [("clock jumps", 0, rng.choice([1, -1]) * rng.uniform(60, 7200)), ("clock jumps", 0, rng.uniform(-600, 600))]
    rng.shuffle(pot)
    times = sorted(rng.uniform(0, span_s) for _ in pot)
    return tuple(Fault(round(at, 2), kind, round(s, 2), round(a)) for at, (kind, s, a) in zip(times, pot, strict=True))


@functools.cache
def shim() -> Path:
    """The library that fills disks and moves clocks (tests/support/faults.c)."""
    library = Path(tempfile.gettempdir()) / f"axrad-faults-{os.getuid()}-{os.getpid()}.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lm"], check=True)
    import atexit

    atexit.register(library.unlink, missing_ok=True)
    return library


@dataclass
class World:
    """Full disks and wrong clocks, for every process that has `environ` laid over its own."""

    control: Path
    root: Path
    _map: mmap.mmap = field(init=False, repr=False)
    _brokers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.control.write_bytes(bytes(16))
        with self.control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)

    @property
    def environ(self) -> dict[str, str]:
        return {MARK: str(self.control), "FAULTS_ROOT": str(self.root), "LD_PRELOAD": str(shim())}

    @property
    def clock_offset_s(self) -> float:
        return float(struct.unpack_from("d", self._map, 0)[0])

    def move_clock(self, by_s: float) -> None:
        struct.pack_into("d", self._map, 0, self.clock_offset_s + by_s)

    def fill_disk(self, full: bool) -> None:
        struct.pack_into("d", self._map, 8, float(full))

    def processes(self, role: str = "") -> list[psutil.Process]:
        """Living processes of this world, of one role or all."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = self._is_broker(process) or process.environ().get(MARK) == str(self.control)
                if ours and process.status() != psutil.STATUS_ZOMBIE and role in ("", role_of(process)):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _is_broker(self, process: psutil.Process) -> bool:
        """A Valkey writes its title over its environment; but it lies in the folder that its address names."""
        if "valkey" not in process.name():
            return False
        with suppress(OSError):
            self._brokers.add(Path((self.root / "broker.url").read_text().strip()).parent.name)
        return Path(process.cwd()).name in self._brokers


def role_of(process: psutil.Process) -> str:
    """Which of ROLES a process has, or empty."""
    line = process.cmdline()
    text = " ".join(line)
    if "valkey" in process.name():
        return "broker"
    if "daemon.listener.acceptor" in text:
        return "acceptor"
    if "spawn_main" in text:
        return "indexer"
    if "work" in line:
        name = line[line.index("--role") + 1]
        parent = process.parent()
        return f"{name}-child" if parent is not None and "work" in parent.cmdline() else name
    return next((name for name in ("up", "listen", "beat") if name in line), "")


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


@dataclass
class Injector:
    """Does to a service what a schedule says, and notes what it did. `redis`: where the broker is not embedded."""

    service: Service
    archive: Archive
    rng: random.Random
    redis: RedisService | None = None
    done: list[str] = field(default_factory=list)
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
        what, _, whom = fault.kind.partition(" ")
        if what == "kill":
            self._kill(whom)
            return
        if what == "archive":
            with self._lasting(fault):
                self._mood(whom, fault.seconds)
            return
        acts: dict[str, Callable[[Fault], None]] = {
            "broker silent": self._broker_silent,
            "broker emptied": self._broker_emptied,
            "ledger locked": self._ledger_locked,
            "disk full": self._disk_full,
            "clock jumps": self._clock_jumps,
        }
        with self._lasting(fault):
            acts[fault.kind](fault)

    @contextmanager
    def _lasting(self, fault: Fault) -> Iterator[None]:
        self.note(f"{fault.kind} {fault.seconds or fault.amount or ''}")
        yield
        if fault.seconds:
            self.note(f"end of {fault.kind}")

    def _kill(self, role: str) -> None:
        if role == "broker" and self.redis is not None:
            self.note("kill -9 redis-server")
            self.redis.kill()
            return
        patience = Patience(NOBODY, self.clock)
        while not (found := sorted(self.service.world.processes(role), key=lambda p: p.pid)):
            if not patience.tick():
                self.note(f"kill {role}: none runs")
                return
        process = self.rng.choice(found)
        self.note(f"kill -9 {role} {process.pid}")
        process.kill()

    def _mood(self, mood: str, seconds: float) -> None:
        moods: dict[str, Mood] = {"refuse": "refuse", "hang": "hang", "drop": "drop"}
        self.archive.mood = moods[mood]
        self.clock.sleep(seconds)
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

    def _broker_emptied(self, fault: Fault) -> None:
        try:
            url = broker_url(self.service.settings).replace(SOCKET_SCHEME, "unix://", 1)
            client = redis.Redis.from_url(url, socket_timeout=2)
            client.flushall()
            client.close()
        except (redis.RedisError, PeerUnreachable) as error:
            self.note(f"the broker could not be emptied: {type(error).__name__}")

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

    def _disk_full(self, fault: Fault) -> None:
        self.service.world.fill_disk(True)
        self.clock.sleep(fault.seconds)
        self.service.world.fill_disk(False)

    def _clock_jumps(self, fault: Fault) -> None:
        self.service.world.move_clock(fault.amount)


# Ticks without one acknowledged file after which a sender gives up: a whole restart of the daemon, twice.
SENDERS_PATIENCE = 2 * PATIENCE


class Sender(threading.Thread):
    """Sends files by storescu until each was answered with success, and never one that was."""

    def __init__(self, name: str, port: int, files: Sequence[Path]) -> None:
        super().__init__(name=name)
        self.files = list(files)
        self.acknowledged: list[Path] = []
        self.calls = 0
        self._port = port

    def run(self) -> None:
        patience = Patience(SENDERS_PATIENCE)
        left = self.files
        while left and patience.tick(len(self.acknowledged)):
            self.acknowledged += self._send(left[:120])
            done = set(self.acknowledged)
            left = [path for path in self.files if path not in done]

    def _send(self, files: Sequence[Path]) -> list[Path]:
        self.calls += 1
        options = ["-v", "-R", "-to", "5", "-ta", "10", "-td", "15"]
        titles = ["-aet", self.name, "-aec", "AXRAD"]
        told = subprocess.run(
            ["storescu", *options, *titles, "127.0.0.1", str(self._port), *map(str, files)],
            env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        acknowledged: list[Path] = []
        sending = None
        for line in (told.stdout + told.stderr).splitlines():
            if line.startswith("I: Sending file: "):
                sending = Path(line.removeprefix("I: Sending file: "))
            elif line.startswith("I: Received Store Response (Success)") and sending is not None:
                acknowledged.append(sending)
        return acknowledged
