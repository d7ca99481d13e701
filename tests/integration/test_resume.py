"""What is picked up again, and by whom, after a process, a broker or a clock has failed. Faults one at a time."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from celery.beat import Scheduler
from structlog.testing import capture_logs

from config.schema import Broker, Settings
from config.schema import Ledger as LedgerSection
from config.schema import Spool as SpoolSection
from daemon.broker.redis_client import SOCKET_SCHEME, when_emptied
from daemon.broker.server import SILENT_TIMES, EmbeddedBroker, broker_url
from daemon.indexing.indexer import index_once
from daemon.indexing.reconcile import reconcile
from daemon.ledger import Ledger
from daemon.ledger.claims import announced, claim, to_announce
from daemon.ledger.clock_jumps import JumpWatch, mend
from daemon.ledger.engine import LedgerBusy
from daemon.ledger.rows import RevisionRow, rows_where
from daemon.ledger.tables import instances, revisions, studies
from daemon.listener import supervisor
from daemon.listener.association_slots import Slots
from daemon.listener.socket_reader import PollWakeup
from daemon.machine.parent_watch import VARIABLE
from daemon.processes.celery_app import MonotonicSchedule, make_app, make_context
from daemon.processes.listening import keep_indexing
from daemon.processes.supervisor import Supervisor
from daemon.spool import Description, JournalWriter, Spool
from daemon.work.context import Context
from daemon.work.failure import revision_failed
from pipeline.errors import InputRejected, PeerUnreachable, TryLater
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image
from tests.support.waiting import wait_for
from tests.support.world import World

NOW = 1_800_000_000.0
LEASE_S = 120.0


def add_revision(ledger: Ledger, now: float = NOW, **values: Any) -> None:
    """One study with one revision that waits to be analysed."""
    with ledger.write() as connection:
        connection.execute(
            studies.insert().values(
                id="s", study_uid="1.2.3", state="ready", patient_key="k", first_arrival_at=now, last_arrival_at=now,
                changed_at=now, dirty=False,
            )
        )  # fmt: skip
        connection.execute(
            revisions.insert().values(
                id="r", study_id="s", number=1, input_digest="d", inputs={"selected": [], "context": []},
                **{"state": "ready", "stage": "analyse", "created_at": now, "next_attempt_at": now} | values,
            )
        )  # fmt: skip


def row_of(ledger: Ledger) -> Any:
    with ledger.read() as connection:
        return connection.execute(sa.select(revisions)).one()


def is_due(ledger: Ledger, now: float) -> bool:
    with ledger.read() as connection:
        return bool(rows_where(connection, RevisionRow, to_announce("revision", now)))


def context_of(ledger: Ledger, now: float = NOW) -> Context:
    return Context(Settings(), ledger, lambda: now, lambda task, row_id: True)


# The clock


class Clocks:
    """A wall clock that is set, and one that is not."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.offset_s = 0.0

    def wall(self) -> float:
        return NOW + self.passed_s + self.offset_s

    def steady(self) -> float:
        return self.passed_s


def test_only_a_clock_that_was_set_has_jumped() -> None:
    clocks = Clocks()
    watch = JumpWatch(clocks.wall, clocks.steady)
    assert watch.look() is None
    clocks.passed_s = 86400
    assert watch.look() == 0
    clocks.offset_s = -3600
    assert watch.look() == -3600
    assert watch.look() == 0
    clocks.offset_s = 100
    assert watch.look() == 3700


def test_an_exam_that_came_before_the_clock_was_put_back_waits_no_longer_than_the_quiet_period(ledger: Ledger) -> None:
    add_revision(ledger, now=NOW + 7200)
    with ledger.write() as connection:
        mend(connection, NOW, -7200, LEASE_S, 10)
        row = connection.execute(sa.select(studies)).one()
    assert (row.last_arrival_at, row.dirty) == (NOW, True)


def test_work_made_before_the_clock_was_put_back_is_due_at_once(ledger: Ledger) -> None:
    add_revision(ledger, now=NOW + 7200, enqueued_until=NOW + 7260)
    assert not is_due(ledger, NOW)
    with ledger.write() as connection:
        mend(connection, NOW, -7200, LEASE_S, 10)
    assert is_due(ledger, NOW)


def test_a_process_that_starts_after_the_clock_was_put_back_mends_it_too(ledger: Ledger) -> None:
    add_revision(ledger, now=NOW + 7200)
    with ledger.write() as connection:
        mend(connection, NOW, 0.0, LEASE_S, 10)
    assert is_due(ledger, NOW)


def test_a_dead_workers_lease_ends_when_it_would_have_although_the_clock_was_put_back(ledger: Ledger) -> None:
    add_revision(ledger)
    with ledger.write() as connection:
        assert claim(connection, "revision", "r", "dead", NOW, LEASE_S, 3)
        mend(connection, NOW - 7200, -7200, LEASE_S, 10)
    assert not is_due(ledger, NOW - 7200 + LEASE_S - 1)
    assert is_due(ledger, NOW - 7200 + LEASE_S + 1)


def test_a_retry_waits_no_longer_than_its_pause_although_the_clock_was_put_back(ledger: Ledger) -> None:
    add_revision(ledger, attempts=1, next_attempt_at=NOW + 10)
    with ledger.write() as connection:
        mend(connection, NOW - 7200, -7200, LEASE_S, 10)
    assert is_due(ledger, NOW - 7200 + 10)


def test_a_living_workers_lease_survives_a_clock_that_leaps_ahead(ledger: Ledger) -> None:
    add_revision(ledger)
    with ledger.write() as connection:
        claim(connection, "revision", "r", "alive", NOW, LEASE_S, 3)
    assert is_due(ledger, NOW + 7200)
    with ledger.write() as connection:
        mend(connection, NOW + 7200, 7200, LEASE_S, 10)
    assert not is_due(ledger, NOW + 7200)
    assert is_due(ledger, NOW + 7200 + LEASE_S + 1)


def test_a_lease_that_had_run_out_stays_run_out_when_the_clock_leaps_ahead(ledger: Ledger) -> None:
    add_revision(ledger)
    with ledger.write() as connection:
        claim(connection, "revision", "r", "dead", NOW, LEASE_S, 3)
        mend(connection, NOW + 7200 + 600, 7200, LEASE_S, 10)
    assert is_due(ledger, NOW + 7200 + 600)


def test_without_a_jump_nothing_is_touched(ledger: Ledger) -> None:
    add_revision(ledger, enqueued_until=NOW + 60)
    with ledger.write() as connection:
        assert mend(connection, NOW + 60, 0.0, LEASE_S, 10) == 0


def test_the_sweep_ticks_on_while_the_wall_clock_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [100.0]
    monkeypatch.setattr("daemon.processes.celery_app.time.monotonic", lambda: passed[0])
    every = MonotonicSchedule(2.0)
    tomorrow = datetime.now(tz=UTC).replace(year=2100)
    assert every.is_due(tomorrow).is_due
    assert not every.is_due(tomorrow).is_due
    passed[0] += 2.0
    assert every.is_due(tomorrow).is_due


# What is no fault of the exam


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "full"), LedgerBusy("locked"), PeerUnreachable("away")],
    ids=["disk full", "ledger locked", "intake host away"],
)
def test_an_exam_is_not_set_aside_for_what_the_machine_lacks(ledger: Ledger, error: Exception) -> None:
    add_revision(ledger)
    for attempt in range(10):
        now = NOW + attempt * 1000
        with ledger.write() as connection:
            held = claim(connection, "revision", "r", "w", now, LEASE_S, 3)
        assert held is not None
        assert not held.exhausted
        assert not revision_failed(context_of(ledger, now), held, "s", error)
    row = row_of(ledger)
    assert (row.state, row.attempts) == ("ready", 0)
    assert now < row.next_attempt_at <= now + 300


def test_an_exam_that_fails_three_times_by_itself_is_set_aside(ledger: Ledger) -> None:
    add_revision(ledger)
    outcomes = []
    for attempt in range(3):
        now = NOW + attempt * 1000
        with ledger.write() as connection:
            held = claim(connection, "revision", "r", "w", now, LEASE_S, 3)
        assert held is not None
        outcomes.append(revision_failed(context_of(ledger, now), held, "s", TryLater("not now")))
    assert outcomes == [False, False, True]
    assert row_of(ledger).state == "failed"


COUNTING = """
import os, sys
from pathlib import Path
from config.schema import Settings
from daemon import metrics
metrics.set_up(Settings.model_validate({"spool": {"path": sys.argv[1] + "/spool"}}))
from prometheus_client import Counter
from tests.support.waiting import wait_for
counter = Counter("things", "things", ["name"])
for number in range(3000):
    counter.labels(str(number)).inc()
for file in Path(sys.argv[1]).rglob("*.db"):
    print(file.stat().st_size, file.stat().st_blocks * 512)
print(counter.labels("2999")._value.get())
"""


def counted(folder: Path, **environ: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_counters_never_touch_a_page_that_has_no_block_on_the_disk(tmp_path: Path) -> None:
    size, on_disk, value = counted(tmp_path)
    assert int(on_disk) >= int(size) > 64 * 1024
    assert float(value) == 1


def test_a_process_counts_on_where_the_disk_is_full(tmp_path: Path) -> None:
    world = World(tmp_path / "control", tmp_path / "full")
    world.fill_disk(True)
    *_, value = counted(world.root, **world.environ)
    assert float(value) == 1


# The broker


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(spool=SpoolSection(path=tmp_path / "spool"))


def client_of(url: str) -> redis.Redis:
    return redis.Redis.from_url(url.replace(SOCKET_SCHEME, "unix://", 1), socket_timeout=10)


@pytest.fixture
def broker(settings: Settings) -> Iterator[EmbeddedBroker]:
    started = EmbeddedBroker(settings)
    started.start()
    yield started
    started.stop()


def pid_of(url: str) -> int:
    with client_of(url) as client:
        return int(client.info("server")["process_id"])


def test_a_broker_that_died_is_started_again_at_the_same_address(settings: Settings, broker: EmbeddedBroker) -> None:
    url = broker_url(settings)
    first = pid_of(url)
    os.kill(first, signal.SIGKILL)
    for _ in range(3):
        broker.tend()
    assert broker_url(settings) == url
    assert pid_of(url) != first


def test_a_broker_that_answers_is_left_alone(settings: Settings, broker: EmbeddedBroker) -> None:
    first = pid_of(broker_url(settings))
    for _ in range(5):
        broker.tend()
    assert pid_of(broker_url(settings)) == first


def test_the_broker_of_a_killed_up_is_ended_by_the_next(settings: Settings) -> None:
    left_behind = EmbeddedBroker(settings)
    url = left_behind.start()
    first = pid_of(url)
    following = EmbeddedBroker(settings)
    try:
        assert following.start() != url
        with pytest.raises(redis.ConnectionError):
            pid_of(url)
        assert not Path(url.removeprefix(SOCKET_SCHEME)).parent.exists()
        assert pid_of(broker_url(settings)) != first
    finally:
        following.stop()
        left_behind.stop()


def test_a_broker_left_behind_that_does_not_even_answer_is_killed(settings: Settings) -> None:
    left_behind = EmbeddedBroker(settings)
    pid = pid_of(left_behind.start())
    os.kill(pid, signal.SIGSTOP)
    following = EmbeddedBroker(settings)
    try:
        following.start()
        assert left_behind._server._process is not None
        assert left_behind._server._process.wait() == -signal.SIGKILL
    finally:
        following.stop()
        left_behind.stop()


def test_a_broker_whose_folder_was_cleaned_away_is_started_again_in_one_of_its_owners_alone(
    settings: Settings, broker: EmbeddedBroker
) -> None:
    url = broker_url(settings)
    folder = Path(url.removeprefix(SOCKET_SCHEME)).parent
    shutil.rmtree(folder)
    for _ in range(SILENT_TIMES):
        broker.tend()
    assert pid_of(url)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_broker_does_not_start_in_a_folder_that_others_may_enter(settings: Settings, broker: EmbeddedBroker) -> None:
    folder = Path(broker_url(settings).removeprefix(SOCKET_SCHEME)).parent
    shutil.rmtree(folder)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    for _ in range(SILENT_TIMES - 1):
        broker.tend()
    with pytest.raises(PeerUnreachable, match="does not start"):
        broker.tend()


def test_a_broker_that_cannot_be_asked_for_want_of_descriptors_is_left_alone(
    settings: Settings, broker: EmbeddedBroker
) -> None:
    first = pid_of(broker_url(settings))
    with descriptors_exhausted():
        for _ in range(2 * SILENT_TIMES):
            broker.tend()
    assert pid_of(broker_url(settings)) == first


def test_up_lives_on_when_a_process_cannot_be_started(settings: Settings) -> None:
    supervisor = Supervisor(settings, None, flower=False)
    child = supervisor.children[0]
    with descriptors_exhausted(), capture_logs() as logs:
        supervisor._tend(child)
        supervisor._tend(child)
    assert child.process is None
    assert [(line["event"], line["error"]) for line in logs] == [("process-does-not-start", "EMFILE")]
    assert child.not_before > 0


def test_an_indexer_that_cannot_be_started_is_tried_again() -> None:
    stop, tries = threading.Event(), []

    def start() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        stop.set()
        return multiprocessing.get_context("spawn").Process()

    with capture_logs() as logs, suppress(AttributeError):  # a process that was never started cannot be ended
        keep_indexing(start, stop, every_s=0.001)
    assert len(tries) == 3
    assert [(line["event"], line["error"]) for line in logs] == [("indexer-does-not-start", "EMFILE")] * 2


def test_a_listener_lives_on_when_an_acceptor_cannot_be_started(settings: Settings) -> None:
    slots = Slots.create(4, 2)
    with socket.socket() as listening, descriptors_exhausted(), capture_logs() as logs:
        acceptor = supervisor.acceptor_process(settings, 1, listening, slots)
        assert not supervisor._tend(1, acceptor, slots)
        assert not supervisor._tend(1, acceptor, slots)
    slots.close()
    assert acceptor.process is None
    assert [(line["event"], line["error"]) for line in logs] == [("acceptor does not start", "EMFILE")]


def test_an_association_that_gets_no_descriptor_leaves_no_trace_in_the_log() -> None:
    """Discarding a wake-up that has no descriptor raises nothing: an error in a finalizer fails the test."""
    with descriptors_exhausted(), pytest.raises(OSError, match="Too many open files"):
        PollWakeup()
    gc.collect()


@contextmanager
def descriptors_exhausted() -> Iterator[None]:
    """This process may open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
    held = []
    with suppress(OSError):
        while True:
            held.append(os.dup(0))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)


def test_what_was_announced_to_a_broker_that_lost_it_is_announced_again(
    settings: Settings, broker: EmbeddedBroker
) -> None:
    url = broker_url(settings)
    app = make_app(settings, url)
    context = make_context(app, settings)
    add_revision(context.ledger)
    times = []
    context.if_emptied(lambda: times.append("the first look"))
    with context.ledger.write() as connection:
        announced(connection, "revision", "r", NOW + 60)
    context.if_emptied(lambda: times.append("nothing was lost"))
    with client_of(url) as client:
        client.flushall()

    from daemon.work.sweep import announce_anew

    when_emptied(app, lambda: announce_anew(context))
    assert times == ["the first look"]
    assert is_due(context.ledger, NOW + 1)
    context.ledger.close()


def test_a_broker_that_is_away_takes_no_message_and_the_row_is_not_taken_for_announced(tmp_path: Path) -> None:
    settings = Settings(
        spool=SpoolSection(path=tmp_path / "spool"),
        ledger=LedgerSection(url=f"sqlite:///{tmp_path / 'ledger.sqlite'}"),
        broker=Broker(url=f"{SOCKET_SCHEME}{tmp_path / 'nobody.sock'}"),
    )
    context = make_context(make_app(settings, str(settings.broker.url)), settings)
    add_revision(context.ledger, now=time.time() - 1)
    assert context.announce("axrad.analyse", "r") is False

    from daemon.work.dispatch import dispatch_revisions

    dispatch_revisions(context)
    assert row_of(context.ledger).enqueued_until is None
    context.ledger.close()


# Processes


def test_two_ups_beside_one_spool_are_one_too_many(settings: Settings) -> None:
    first, second = (Supervisor(settings, None, flower=False) for _ in range(2))
    assert first._lock.acquire()
    try:
        with pytest.raises(InputRejected, match="another"):
            second.start()
    finally:
        first._lock.release()


FOLLOWER = "import time; from daemon.machine.parent_watch import follow; follow(); time.sleep(60)"
LEADER = (
    "import subprocess, sys, time; from daemon.machine.parent_watch import following; import os;"
    f"p = subprocess.Popen([sys.executable, '-c', {FOLLOWER!r}], env={{**os.environ, **following()}});"
    "print(p.pid, flush=True); time.sleep(60)"
)


def test_a_process_of_up_ends_when_up_was_killed() -> None:
    leader = subprocess.Popen([sys.executable, "-c", LEADER], stdout=subprocess.PIPE, text=True)
    assert leader.stdout is not None
    follower = int(leader.stdout.readline())
    leader.kill()
    leader.wait()
    leader.stdout.close()
    wait_for(lambda: not alive(follower), "the follower to end")


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_process_that_nobody_supervises_follows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.machine.parent_watch import follow

    monkeypatch.setenv(VARIABLE, "no number")
    follow()
    assert VARIABLE not in os.environ


# The indexer


def spooled(root: Path, *uids: str, journal: JournalWriter | None = None) -> list[Path]:
    """Files in a spool, with journal lines or without."""
    spool = Spool(root)
    kept = [
        spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCANNER"), encoded(mr_image(uid)), journal).path
        for uid in uids
    ]
    return [root / path for path in kept]


def rows_by_uid(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        return {row.sop_uid: row for row in connection.execute(sa.select(instances)).all()}


def test_a_file_that_no_journal_names_gets_its_row(ledger: Ledger, tmp_path: Path) -> None:
    spooled(tmp_path / "spool", "1.2.3.1", "1.2.3.2")
    assert reconcile(ledger, Spool(tmp_path / "spool"), NOW) == (2, 0)
    assert set(rows_by_uid(ledger)) == {"1.2.3.1", "1.2.3.2"}


def test_a_torn_file_keeps_nobody_else_from_its_row(ledger: Ledger, tmp_path: Path) -> None:
    torn, _ = spooled(tmp_path / "spool", "1.2.3.1", "1.2.3.2")
    torn.write_bytes(b"")
    assert reconcile(ledger, Spool(tmp_path / "spool"), NOW) == (1, 0)
    assert set(rows_by_uid(ledger)) == {"1.2.3.2"}


def test_what_arrives_while_the_spool_is_walked_keeps_its_sender(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    spool = Spool(root)
    journal = JournalWriter(spool.journal, "SCANNER", "127.0.0.1")
    walk = Spool.walk

    def walk_while_something_arrives(self: Spool) -> Iterator[str]:
        spooled(root, "1.2.3.1", journal=journal)
        return walk(self)

    monkeypatch.setattr(Spool, "walk", walk_while_something_arrives)
    assert reconcile(ledger, spool, time.time(), lambda: index_once(ledger, spool, time.time())) == (0, 0)
    journal.close("released")
    assert rows_by_uid(ledger)["1.2.3.1"].calling_ae == "SCANNER"


def test_a_journal_from_before_the_clock_was_put_back_brings_nothing_from_the_future(
    ledger: Ledger, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "SCANNER", "127.0.0.1")
    spooled(spool.root, "1.2.3.1", journal=journal)
    journal.close("released")
    an_hour_ago = time.time() - 3600
    index_once(ledger, spool, an_hour_ago)
    assert rows_by_uid(ledger)["1.2.3.1"].received_at == an_hour_ago


def test_a_journal_that_names_a_file_which_is_gone_stops_nobody(ledger: Ledger, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "SCANNER", "127.0.0.1")
    gone, _ = spooled(spool.root, "1.2.3.1", "1.2.3.2", journal=journal)
    journal.close("released")
    gone.unlink()
    index_once(ledger, spool, time.time())
    reconcile(ledger, spool, time.time())
    assert rows_by_uid(ledger)["1.2.3.2"].state == "stored"
    assert rows_by_uid(ledger)["1.2.3.1"].state in ("lost", "unreadable")


def test_beat_ticks_on_when_the_clock_is_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app = make_app(Settings(spool=SpoolSection(path=tmp_path / "spool")), "memory://")
    ticks: list[float] = []
    beat = Scheduler(app)
    monkeypatch.setattr(beat, "apply_entry", lambda entry, producer=None: ticks.append(time.monotonic()))
    monkeypatch.setattr(beat, "sync", lambda: None)
    app.conf.beat_schedule = {"sweep": {"task": "axrad.sweep", "schedule": MonotonicSchedule(0.01)}}
    beat.setup_schedule()

    def until(number: int) -> None:
        for _ in range(500):
            if len(ticks) >= number:
                return
            beat.tick()
            time.sleep(0.005)

    until(2)
    now = type(app).now
    monkeypatch.setattr(type(app), "now", lambda self: now(self) - timedelta(hours=1))
    until(5)
    assert len(ticks) >= 5
