"""Figures that are read, not counted: from the ledger, the broker, the disk and the listener, at the time of asking."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any  # Any: a key is one label value or a tuple of them

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.schema import Settings
from daemon.clock import Clock
from daemon.finding import RANK, Finding
from daemon.health import standing_checks
from daemon.ledger import Ledger, heartbeats, set_aside, views, work_order
from daemon.ledger import proposals as ledger_proposals
from daemon.ledger.deliveries import failing
from daemon.ledger.engine import require_tables
from daemon.ledger.states import DELIVERY_OPEN, PROPOSAL, STAGE_OPEN, STUDY, WITHOUT_PREDICTION
from daemon.ledger.tables import deliveries, feedback, revisions, studies
from daemon.listener.supervisor import state as listener_state
from daemon.machine import disk_space
from daemon.metrics.results import scanner_label
from daemon.spool.journal import journal_names
from pipeline.errors import AxradError


def gauge(name: str, help_text: str, samples: Mapping[Any, float], labels: tuple[str, ...] = ()) -> Metric:
    """One family; `samples` by label values, in the order of `labels`."""
    family = GaugeMetricFamily(f"axrad_{name}", help_text, labels=labels)
    for key, value in samples.items():
        family.add_metric(list(key), value)
    return family


class LedgerCollector(Collector):
    """`queue_lengths`: messages in the broker by queue; empty where it does not answer."""

    def __init__(
        self, settings: Settings, ledger: Ledger, clock: Clock, queue_lengths: Callable[[], Mapping[str, int]]
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._queue_lengths = queue_lengths

    def describe(self) -> list[Metric]:
        """Nothing is promised beforehand, so that registering asks neither ledger nor broker."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._machine()
        lengths = self._queue_lengths()
        yield gauge("broker_up", "Whether the broker answers.", {(): float(bool(lengths))})
        yield gauge("queue_messages", "Messages in the broker.", {(q,): n for q, n in lengths.items()}, ("queue",))
        now = self._clock()
        metrics: list[Metric] = []
        checks = list(standing_checks.of_machine(self._settings, self._listener(), now))
        if self._settings.metrics.listener_host is not None:
            checks = [check for check in checks if check.code != "listening"]
        try:
            with self._ledger.read() as connection:
                require_tables(connection)
                metrics = list(_of_ledger(connection, now, self._settings))
                checks += standing_checks.of_ledger(connection, self._settings, now)
        except AxradError as error:
            checks.append(Finding("ledger", "fail", error.message))
        up = not any(check.code == "ledger" for check in checks)
        yield gauge("ledger_up", "Whether the ledger answers.", {(): float(up)})
        yield from metrics
        yield from _checked(checks)

    def _listener(self) -> dict[str, object] | None:
        return listener_state(self._settings)

    def _machine(self) -> Iterator[Metric]:
        spool = self._settings.spool
        with suppress(OSError):
            room = disk_space.room(spool.path)
            yield gauge("disk_free_bytes", "Free on the spool's file system.", {(): room.free_bytes})
            yield gauge("disk_size_bytes", "Size of the spool's file system.", {(): room.total_bytes})
            yield gauge(
                "journals",
                "Journals that are open or not yet in the ledger.",
                {(): len(journal_names(spool.path / "journal"))},
            )
        yield gauge("disk_warn_bytes", "Below this a warning is logged.", {(): spool.warn_free_bytes})
        yield gauge("disk_refuse_bytes", "Below this nothing more is taken in.", {(): spool.refuse_free_bytes})
        if self._settings.metrics.listener_host is not None:
            return  # it is elsewhere; health asks it
        listener = self._listener()
        yield gauge("listener_up", "Whether a listener runs on this machine.", {(): float(listener is not None)})
        if listener is not None:
            count = int(str(listener["associations"]))
            yield gauge("associations_open", "Associations that are open now.", {(): count})
            most = int(str(listener["max_associations"]))
            yield gauge("associations_limit", "Associations that may be open at once.", {(): most})


def _checked(checks: Sequence[Finding]) -> Iterator[Metric]:
    """The records that `axrad status` and `axrad doctor` put into words."""
    levels = {(c.code, c.subject): float(RANK[c.level]) for c in checks}
    yield gauge("check", "A check: 0 well, 1 somebody should look, 2 does not work.", levels, ("check", "subject"))
    values = {(c.code, c.subject): c.value for c in checks if c.value is not None}
    yield gauge("check_value", "What a check judged.", values, ("check", "subject"))


def _of_ledger(connection: sa.Connection, now: float, settings: Settings) -> Iterator[Metric]:
    counts = views.counts(connection, now)
    by_state = {state: counts["studies"].get(state, {"count": 0, "oldest_s": 0.0}) for state in STUDY}
    yield gauge("studies", "Studies.", {(s,): row["count"] for s, row in by_state.items()}, ("state",))
    oldest = {(s,): row["oldest_s"] for s, row in by_state.items()}
    yield gauge("study_oldest_seconds", "How long the oldest study has been in its state.", oldest, ("state",))
    stored = {(s,): row["bytes"] for s, row in counts["instances"].items()}
    yield gauge("spool_bytes", "Bytes of instances, as the ledger has them.", stored, ("state",))
    # Settings without any destination are those of a machine that only observes.
    configured = {d.name for d in settings.destination} or counts["deliveries"].keys()
    sent = {(d, s): n for d, states in counts["deliveries"].items() if d in configured for s, n in states.items()}
    yield gauge("deliveries", "Deliveries.", sent, ("destination", "state"))
    aside_now = set_aside.count(connection)
    yield gauge("files_set_aside", "Files that are not read any more: their readers died.", {(): aside_now})
    yield from _deliveries(connection, now, configured)
    yield from _work(connection, now)
    yield from _verdicts(connection, settings)
    yield from _proposals(connection, now)


def _deliveries(connection: sa.Connection, now: float, there: Container[str]) -> Iterator[Metric]:
    rows = connection.execute(
        sa.select(deliveries.c.destination, sa.func.min(deliveries.c.created_at))
        .where(deliveries.c.state.in_(DELIVERY_OPEN))
        .group_by(deliveries.c.destination)
    ).all()
    oldest = {(name,): now - at for name, at in rows if name in there}
    yield gauge("delivery_oldest_seconds", "Age of the oldest unproven delivery.", oldest, ("destination",))
    down = {(d["destination"],): now - d["failing_since"] for d in failing(connection) if d["destination"] in there}
    yield gauge("destination_failing_seconds", "How long a destination has not answered.", down, ("destination",))


def _work(connection: sa.Connection, now: float) -> Iterator[Metric]:
    running, announced = work_order.under_way(connection, now)
    yield gauge("revisions_running", "Revisions that a worker holds.", {(): running})
    yield gauge("revisions_announced", "Revisions of which a message is on its way.", {(): announced})
    waiting = connection.execute(
        sa.select(studies.c.priority, studies.c.role, sa.func.count())
        .join(revisions, revisions.c.study_id == studies.c.id)
        .where(revisions.c.stage.in_(STAGE_OPEN), revisions.c.state == "ready")
        .group_by(studies.c.priority, studies.c.role)
    ).all()
    by_priority: dict[tuple[str, ...], float] = {}
    for priority, role, number in waiting:
        key = ("backfill" if role == work_order.BACKFILL else work_order.priority_in_words(priority),)
        by_priority[key] = by_priority.get(key, 0) + number
    yield gauge("revisions_waiting", "Revisions that wait, by priority.", by_priority, ("priority",))
    processes: dict[tuple[str, ...], float] = {}
    for row in heartbeats.signs_of(connection, "worker", now - heartbeats.WORKER_GONE_S):
        for queue in row.detail.get("queues", ()):
            processes[(queue,)] = processes.get((queue,), 0) + row.detail.get("processes", 0)
    yield gauge("worker_processes", "Worker processes, by the queue they take from.", processes, ("queue",))
    swept = heartbeats.last_sign(connection, "sweep")
    if swept is not None:
        yield gauge("sweep_age_seconds", "How long ago the last sweep was.", {(): now - swept.at})


def _proposals(connection: sa.Connection, now: float) -> Iterator[Metric]:
    by_state = ledger_proposals.counts(connection)
    states = {(state,): by_state.get(state, 0) for state in PROPOSAL}
    yield gauge("proposals", "Proposals of regions.", states, ("state",))
    since = ledger_proposals.waiting_since(connection)
    age = 0.0 if since is None else max(0.0, now - since)
    yield gauge("proposal_oldest_seconds", "How long the oldest proposal has waited for a reader.", {(): age})


def _verdicts(connection: sa.Connection, settings: Settings) -> Iterator[Metric]:
    rows = connection.execute(
        sa.select(revisions.c.reason_code, sa.func.count())
        .where(revisions.c.state.in_(WITHOUT_PREDICTION))
        .group_by(revisions.c.reason_code)
    ).all()
    yield gauge(
        "revisions_without_result", "Revisions set aside or not evaluated.", {(c,): n for c, n in rows}, ("code",)
    )
    statements = connection.execute(
        sa.select(
            feedback.c.signature, feedback.c.scanner, feedback.c.source, feedback.c.verdict, sa.func.count()
        ).group_by(feedback.c.signature, feedback.c.scanner, feedback.c.source, feedback.c.verdict)
    ).all()
    labels = ("signature", "scanner", "source", "verdict")
    active = active_signatures(settings)
    counted: dict[tuple[str, ...], float] = {}
    for signature, scanner, source, verdict, number in statements:
        if active is None or signature in ("", *active):
            key = (signature, scanner_label(scanner, settings.metrics.scanners), source, verdict)
            counted[key] = counted.get(key, 0) + number
    yield gauge("feedback", "What readers and pathology said of signatures that are active.", counted, labels)


def active_signatures(settings: Settings) -> frozenset[str] | None:
    """`name@version` of what exams are scored with now, shadows included; None where nothing is set or can be read."""
    from pipeline.signature import load
    from pipeline.signature.registry import Registry

    signature = settings.signature
    try:
        if signature.path is not None:
            return frozenset({load(signature.path).header.title[:128]})
        if signature.registry is not None:
            return frozenset(title[:128] for title in Registry(signature.registry).titles_in_use())
    except (AxradError, OSError):
        pass
    return None
