"""The checks, each by real traffic, asked together and remembered for a while."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from celery import Celery
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.schema import Settings
from daemon.celery_app import QUEUES, make_app
from daemon.clock import Clock, system_clock
from daemon.health.roundtrip import echo, store_and_find
from daemon.ledger import Ledger, life, order
from daemon.ledger.tables import revisions
from pipeline.errors import AxradError, PeerUnreachable, TryLater

SWEEP_LATE_S = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. `text` is a sentence, `at` in seconds since 1970."""

    name: str
    ok: bool
    text: str
    seconds: float
    at: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Health(Collector):
    """Asks at most every `metrics.health_every_s`; between, what was found last is told again."""

    def __init__(self, settings: Settings, ledger: Ledger, broker_url: Callable[[], str], clock: Clock = system_clock):
        self._settings = settings
        self._ledger = ledger
        self._broker_url = broker_url
        self._clock = clock
        self._app: tuple[str, Celery] | None = None
        self._asking = threading.Lock()
        self._found: tuple[Check, ...] = ()
        self._found_at = float("-inf")
        queues = sorted(set(QUEUES.values()))
        self._checks: dict[str, Callable[[], str]] = {
            "ledger": self._ledger_answers,
            "disk": self._disk_has_room,
            "listener": self._listener_answers,
            "intake": self._intake_stores,
            "sweep": self._sweep_ticks,
            **{f"queue-{name}": lambda name=name: self._task_returns(name) for name in queues},  # type: ignore[misc]
        }

    def checks(self) -> tuple[Check, ...]:
        """What holds now, asked for if what is known is too old. Several who ask at once wait for one answer."""
        with self._asking:
            if time.monotonic() - self._found_at > self._settings.metrics.health_every_s:
                with ThreadPoolExecutor(len(self._checks)) as pool:
                    self._found = tuple(pool.map(self._ask, self._checks))
                self._found_at = time.monotonic()
            return self._found

    def refresh_soon(self) -> None:
        """Ask in the background, where nobody does already."""
        if not self._asking.locked():
            threading.Thread(target=self.checks, name="health", daemon=True).start()

    def _ask(self, name: str) -> Check:
        began = time.perf_counter()
        try:
            ok, text = True, self._checks[name]()
        except AxradError as error:
            ok, text = False, error.message
        return Check(name, ok, text, round(time.perf_counter() - began, 3), self._clock())

    # Metrics of what was found last

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("axrad_health", "Whether a check by real traffic succeeded.", labels=["check"])
        for check in self._found:
            family.add_metric([check.name], float(check.ok))
        yield family

    # The checks

    def _ledger_answers(self) -> str:
        with self._ledger.write() as connection:
            life.sign(connection, "health", "ping", self._clock())
        return f"{self._ledger.engine.dialect.name} was written to"

    def _disk_has_room(self) -> str:
        spool = self._settings.spool
        try:
            free = shutil.disk_usage(spool.path).free
        except OSError as error:
            raise TryLater(f"the spool cannot be looked at: {error.strerror}") from error
        if free < spool.refuse_free_bytes:
            raise TryLater(f"{free / 1024**3:.1f} GiB are left for the spool: senders are refused")
        return f"{free / 1024**3:.1f} GiB are left for the spool"

    def _listener_answers(self) -> str:
        return echo(self._settings)

    def _intake_stores(self) -> str:
        return store_and_find(self._settings, self._ledger, self._settings.metrics.health_timeout_s)

    def _sweep_ticks(self) -> str:
        with self._ledger.read() as connection:
            row = life.last(connection, "sweep")
        if row is None or self._clock() - row.at > SWEEP_LATE_S:
            raise TryLater("no sweep for a minute: does beat run, and a worker for the queue `sweep`?")
        return f"the last sweep was {self._clock() - row.at:.0f} s ago"

    def _task_returns(self, queue: str) -> str:
        """Send `axrad.ping` through the broker and find what it writes; a worker that is busy with an exam is well."""
        token, began = secrets.token_hex(8), time.monotonic()
        patience_s = self._settings.metrics.health_timeout_s
        self._celery().send_task(
            "axrad.ping", args=[queue, token], queue=queue, expires=2 * patience_s, retry=False, ignore_result=True
        )
        while time.monotonic() - began < patience_s:
            with self._ledger.read() as connection:
                row = life.last(connection, f"ping:{queue}")
            if row is not None and row.detail.get("token") == token:
                return f"a task came back after {time.monotonic() - began:.2f} s"
            if queue == "analyse" and (busy := self._busy()):
                return busy
            time.sleep(0.05)
        raise TryLater(f"no task came back from queue {queue} within {patience_s:g} s: is there a worker for it?")

    def _busy(self) -> str:
        """In words, if every process that takes exams holds one whose lease it renews."""
        now = self._clock()
        with self._ledger.read() as connection:
            running, _ = order.under_way(connection, now)
            processes = life.slots(connection, "analyse", now)
            attempts = connection.execute(
                sa.select(sa.func.max(revisions.c.lease_until)).where(revisions.c.lease_until >= now)
            ).scalar_one()
        return f"all {processes} processes work on exams" if attempts and processes and running >= processes else ""

    def _celery(self) -> Celery:
        from kombu.exceptions import OperationalError

        url = self._broker_url()
        if self._app is None or self._app[0] != url:
            self._app = (url, make_app(self._settings, url))
        app = self._app[1]
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=2)
        except (OperationalError, OSError) as error:
            raise PeerUnreachable("the broker does not answer") from error
        return app
