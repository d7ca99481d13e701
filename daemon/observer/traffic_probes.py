"""Checks by real traffic, run together and remembered for a while. One that does not return in time has failed."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa
import structlog
from celery import Celery
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.schema import Settings
from daemon.broker.queue_names import NAMES
from daemon.broker.redis_client import usable
from daemon.clock import Clock, system_clock
from daemon.finding import Finding
from daemon.health import standing_checks
from daemon.health.roundtrip import echo, store_and_find
from daemon.ledger import Ledger, heartbeats, work_order
from daemon.ledger.engine import require_tables
from daemon.ledger.tables import revisions
from daemon.logs import place_of
from daemon.machine import disk_space
from daemon.processes.celery_app import make_app
from pipeline.errors import AxradError, TryLater

log = structlog.get_logger("axrad.health")
# Beyond the patience of a check itself: its connections have timeouts of their own.
PROBE_GRACE_S = 10.0
# A result is valid for so many times `health_every_s`, or for this many seconds; then the check counts as failed.
STALE_TIMES, STALE_S = 4, 120.0
REMEDIES = {
    "ledger": "look at ledger.url and at the database",
    "broker": "start `axrad up`, or look at the Redis of broker.url",
    "listener": "start `axrad up` or `axrad listen`",
    "intake": "look for `ledger-away` and `indexer-died` in the log of `axrad listen`",
}


@dataclass(frozen=True, slots=True)
class Check:
    """A finding of traffic, how long it took to find, and when that was (seconds since 1970)."""

    finding: Finding
    seconds: float
    at: float

    def as_dict(self) -> dict[str, object]:
        fields = asdict(self.finding)
        return {
            "name": self.finding.name,
            "ok": self.finding.level != "fail",
            **fields,
            "seconds": self.seconds,
            "at": self.at,
        }


class Probe:
    """One check, asked in a thread of its own, of which there is never more than one."""

    def __init__(self, name: str, ask: Callable[[], Finding], clock: Clock) -> None:
        code, _, subject = name.partition("-")
        self._blank = Finding(code, "fail", "", REMEDIES.get(code, ""), subject)
        self._ask = ask
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self.last: Check | None = None

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._began = time.perf_counter()
            self._thread = threading.Thread(target=self._run, name=f"health-{self._blank.name}", daemon=True)
            self._thread.start()

    def result(self, until: float) -> Check:
        """What this round found; by `until` (monotonic) that it has not come back."""
        assert self._thread is not None
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive() or self.last is None:
            self.last = self._failed(f"the check has not come back for {time.perf_counter() - self._began:.0f} s")
        return self.last

    def _run(self) -> None:
        began = self._began
        try:
            self.last = Check(self._ask(), round(time.perf_counter() - began, 3), self._clock())
        except AxradError as error:
            self.last = self._failed(error.message)
        except Exception as error:  # noqa: BLE001 - a check that fails in a way nobody foresaw is a failed check
            log.error("check-failed", check=self._blank.name, error=type(error).__name__, at=place_of(error))
            self.last = self._failed(f"the check failed in an unforeseen way ({type(error).__name__})")

    def _failed(self, text: str) -> Check:
        return Check(replace(self._blank, text=text), round(time.perf_counter() - self._began, 3), self._clock())


class Health(Collector):
    """Runs the checks at most every `metrics.health_every_s`; in between it repeats the last results."""

    def __init__(self, settings: Settings, ledger: Ledger, broker_url: Callable[[], str], clock: Clock = system_clock):
        self._settings = settings
        self._ledger = ledger
        self._broker_url = broker_url
        self._clock = clock
        self._app: tuple[str, Celery] | None = None
        self._asking = threading.Lock()
        self._checks: tuple[Check, ...] = ()
        self._checked_at = float("-inf")
        asks: dict[str, Callable[[], Finding]] = {
            "ledger": self.ledger_takes,
            "disk": lambda: self._of_disk("disk"),
            "inodes": lambda: self._of_disk("inodes"),
            "broker": self.broker_takes,
            "listener": self.listener_answers,
            "intake": self.intake_stores,
            "sweep": self._sweep_ticks,
            **{f"queue-{name}": lambda name=name: self.task_returns(name) for name in NAMES},  # type: ignore[misc]
        }
        self.probes = {name: Probe(name, ask, clock) for name, ask in asks.items()}

    def checks(self) -> tuple[Check, ...]:
        """The current results; the checks run again if these are too old. Several callers at once wait for one run."""
        with self._asking:
            if time.monotonic() - self._checked_at > self._settings.metrics.health_every_s:
                self._checks = self.ask(list(self.probes))
                self._checked_at = time.monotonic()
            return self._checks

    def ask(self, names: Sequence[str]) -> tuple[Check, ...]:
        """Ask these at the same time, and wait for them no longer than their patience."""
        probes = [self.probes[name] for name in names]
        for probe in probes:
            probe.start()
        until = time.monotonic() + self._settings.metrics.health_timeout_s + PROBE_GRACE_S
        return tuple(probe.result(until) for probe in probes)

    def refresh_soon(self) -> None:
        """Ask in the background, where nobody does already."""
        if not self._asking.locked():
            threading.Thread(target=self.checks, name="health", daemon=True).start()

    # Metrics of what was found last

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        """The last results; all failed where they are too old."""
        family = GaugeMetricFamily("axrad_health", "Whether a check by real traffic succeeded.", labels=["check"])
        believed_s = max(STALE_S, STALE_TIMES * self._settings.metrics.health_every_s)
        stale = time.monotonic() - self._checked_at > believed_s
        for check in self._checks:
            family.add_metric([check.finding.name], float(check.finding.level != "fail" and not stale))
        yield family

    # The checks. Each raises AxradError with the reason, or says what it found.

    def ledger_takes(self) -> Finding:
        with self._ledger.write() as connection:
            require_tables(connection)
            heartbeats.sign(connection, "health", "ping", self._clock())
        return Finding("ledger", "ok", f"{self._ledger.engine.dialect.name} was written to")

    def broker_takes(self) -> Finding:
        broker = usable(self._broker_url())
        return Finding("broker", "ok", f"version {broker.version} was written to")

    def _of_disk(self, code: str) -> Finding:
        findings = {finding.code: finding for finding in disk_space.findings(self._settings.spool)}
        return findings.get(code) or Finding(code, "ok", "the file system makes them as needed")

    def listener_answers(self) -> Finding:
        return Finding("listener", "ok", echo(self._settings))

    def intake_stores(self) -> Finding:
        return Finding(
            "intake", "ok", store_and_find(self._settings, self._ledger, self._settings.metrics.health_timeout_s)
        )

    def _sweep_ticks(self) -> Finding:
        with self._ledger.read() as connection:
            return standing_checks.sweep(connection, self._clock())

    def task_returns(self, queue: str) -> Finding:
        """Send `axrad.ping` through the broker and find what it writes; a worker that is busy with an exam is well."""
        token, began = secrets.token_hex(8), time.monotonic()
        patience_s = self._settings.metrics.health_timeout_s
        usable(self._broker_url())
        self._celery().send_task(
            "axrad.ping", args=[queue, token], queue=queue, expires=2 * patience_s, retry=False, ignore_result=True
        )
        while time.monotonic() - began < patience_s:
            with self._ledger.read() as connection:
                row = heartbeats.last_sign(connection, f"ping:{queue}")
            if row is not None and row.detail.get("token") == token:
                text = f"a task came back after {time.monotonic() - began:.2f} s"
                return Finding("queue", "ok", text, subject=queue)
            if queue == "analyse" and (busy := self._busy()):
                return Finding("queue", "ok", busy, subject=queue)
            time.sleep(0.05)
        raise TryLater(f"no task came back from queue {queue} within {patience_s:g} s: is there a worker for it?")

    def _busy(self) -> str:
        """In words, if every process that takes exams holds one whose lease it renews."""
        now = self._clock()
        with self._ledger.read() as connection:
            running, _ = work_order.under_way(connection, now)
            processes = heartbeats.worker_processes(connection, "analyse", now)
            attempts = connection.execute(
                sa.select(sa.func.max(revisions.c.lease_until)).where(revisions.c.lease_until >= now)
            ).scalar_one()
        return f"all {processes} processes work on exams" if attempts and processes and running >= processes else ""

    def _celery(self) -> Celery:
        url = self._broker_url()
        if self._app is None or self._app[0] != url:
            self._app = (url, make_app(self._settings, url))
        return self._app[1]
