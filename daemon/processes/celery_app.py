"""The Celery application. Messages are JSON with one opaque id; the ledger, not the broker, is the queue of record."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from celery import Celery, current_task
from celery.exceptions import Retry
from celery.schedules import schedstate, schedule
from celery.signals import worker_process_init

from config.schema import Settings
from daemon.broker import transport
from daemon.broker.queue_names import QUEUES
from daemon.broker.redis_client import ERRORS, queue_lengths, trouble_of, when_emptied
from daemon.clock import system_clock
from daemon.ledger import Ledger, heartbeats, installation, open_ledger, views
from daemon.ledger.clock_jumps import JumpWatch
from daemon.ledger.engine import LedgerBusy
from daemon.logs import Recurring
from daemon.machine import liveness_file
from daemon.metrics import counters
from daemon.recovery import unreadable_files
from daemon.work import messages
from daemon.work.context import Context
from daemon.work.exam_limits import ENDING_GRACE_S
from daemon.work.failure import TaskFailed
from daemon.work.large_exams import LargeExamThread
from pipeline.errors import TryLater

if TYPE_CHECKING:
    from daemon.work.older_accessions import OlderAccessions

KINDS = {"axrad.deliver": "delivery", "axrad.fetch": "fetch", "axrad.propose": "proposal"}
REDIS = ("redis", "unix")
# Seconds between attempts to open the ledger at the start.
LEDGER_AGAIN_S = 1.0

log = structlog.get_logger("axrad.work")


_STARTED = datetime.now(UTC), time.monotonic()


def steady_now() -> datetime:
    """The time of day, unaffected by a clock that was set after this process began."""
    return _STARTED[0] + timedelta(seconds=time.monotonic() - _STARTED[1])


class MonotonicSchedule(schedule):  # type: ignore[misc]
    """Every so many seconds by the monotonic clock. Celery's own schedule stops when the wall clock is put back."""

    def __init__(self, every_s: float) -> None:
        # Beat's heap is ordered by what a schedule takes for now.
        super().__init__(every_s, nowfun=steady_now)
        self._next = time.monotonic()

    def is_due(self, last_run_at: datetime) -> schedstate:
        left = self._next - time.monotonic()
        if left > 0:
            return schedstate(is_due=False, next=left)
        liveness_file.touch()
        every_s = self.run_every.total_seconds()
        self._next = time.monotonic() + every_s
        return schedstate(is_due=True, next=every_s)


def make_app(settings: Settings, url: str) -> Celery:
    """The application with its tasks, for workers, beat and Flower alike.

    Its keys in the broker begin with the ledger's id. Messages under other keys, as older versions sent them, are not
    taken: the ledger announces again what nobody has taken.
    """
    transport.install()
    prefix = _prefix(settings) if url.startswith(REDIS) else ""
    app = Celery("axrad", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        worker_lost_wait=1.0,  # a process that ended itself has said why
        task_reject_on_worker_lost=False,  # the ledger's lease brings the work back, the broker must not too
        worker_prefetch_multiplier=1,
        task_time_limit=settings.work.time_limit_s + ENDING_GRACE_S,  # the last resort, after daemon.work.exam_limits
        task_routes={task: {"queue": queue} for task, queue in QUEUES.items()},
        task_default_queue="analyse",
        task_create_missing_queues=True,
        worker_send_task_events=True,
        worker_max_memory_per_child=settings.work.max_memory_bytes and settings.work.max_memory_bytes // 1024,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a broker may be away for a night
        broker_transport_options={
            "visibility_timeout": max(3600, int(settings.work.time_limit_s * 4)),
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "global_keyprefix": prefix,
        },
        beat_scheduler="celery.beat:Scheduler",  # no shelve file
        beat_schedule={
            "sweep": {
                "task": "axrad.sweep",
                "schedule": MonotonicSchedule(settings.assembly.sweep_s),
                # A tick that nobody took in time is worth nothing: the next one does the same.
                "options": {"expires": max(10.0, settings.assembly.sweep_s * 5)},
            }
        },
        timezone="UTC",
        enable_utc=True,
    )
    _add_tasks(app, settings)
    return app


def make_app_in_time(settings: Settings, url: str) -> Celery:
    """`make_app` as soon as the ledger answers. A signal ends the wait, as it ends the process."""
    away = Recurring(log, "ledger-away")
    while True:
        try:
            return make_app(settings, url)
        except LedgerBusy as error:
            away.note(error.code, reason=error.message)
            time.sleep(LEDGER_AGAIN_S)


def _prefix(settings: Settings) -> str:
    with closing(open_ledger(settings)) as ledger:
        return installation.prefix_of(ledger)


def make_context(app: Celery, settings: Settings, *, expendable: bool = False) -> Context:
    """A context whose announcements go to the broker; one that does not answer is no error, the sweep repeats them."""
    ledger = open_ledger(settings)
    away = Recurring(log, "broker-away")

    def announce(task: str, row_id: str) -> bool:
        shown = caption(ledger, task, row_id)
        try:
            app.send_task(
                task,
                args=[row_id],
                headers=messages.HEADERS,
                argsrepr=shown,
                kwargsrepr="",
                retry=False,
                ignore_result=True,
            )
        except ERRORS as error:
            trouble = trouble_of(error)
            away.note(trouble.code, reason=trouble.message)
            return False
        return True

    def queued(queue: str) -> int | None:
        return queue_lengths(app, (queue,)).get(queue)

    def if_emptied(action: Callable[[], None]) -> None:
        when_emptied(app, action)

    return Context(settings, ledger, system_clock, announce, queued, if_emptied, expendable)


def caption(ledger: Ledger, task: str, row_id: str) -> str:
    """What Flower shows as the arguments of a task: the study's opaque id first, so that one search finds it all."""
    try:
        with ledger.read() as connection:
            return views.caption(connection, KINDS.get(task, "revision"), row_id)
    except TryLater:
        return row_id


def _add_tasks(app: Celery, settings: Settings) -> None:
    in_pool = False

    @functools.cache
    def context() -> Context:
        made = make_context(app, settings, expendable=in_pool)
        if in_pool:
            unreadable_files.report_to_ledger(made.ledger, settings.spool.path, system_clock())
        return made

    # A forked pool process must not share its parent's database connections.
    def fresh(**_: object) -> None:
        nonlocal in_pool
        in_pool = True
        context.cache_clear()
        unreadable_files.start(settings.spool.path, "a worker", system_clock())

    worker_process_init.connect(fresh, weak=False)

    # Ticks and pings would bury the exams in Flower; they send no events.
    @app.task(name="axrad.ping", shared=False, send_events=False)  # type: ignore[untyped-decorator]
    def ping_task(queue: str, token: str) -> None:
        with context().ledger.write() as connection:
            heartbeats.sign(connection, f"ping:{queue}", "ping", context().clock(), {"token": token})

    watch, large_exams = JumpWatch(system_clock, time.monotonic), LargeExamThread()

    @functools.cache
    def older_accessions() -> OlderAccessions:
        from daemon.work.older_accessions import OlderAccessions

        return OlderAccessions()

    @app.task(name="axrad.sweep", shared=False, send_events=False)  # type: ignore[untyped-decorator]
    def sweep_task() -> None:
        from daemon.work.sweep import sweep

        try:
            sweep(context(), watch, large_exams, older_accessions())
        except TryLater as error:
            log.warning("sweep-put-off", code=error.code)

    _add_stages(app, context)


def _add_stages(app: Celery, context: Callable[[], Context]) -> None:
    """A task for each stage of an exam; a worker loads what a stage needs when it first runs one."""

    @app.task(name="axrad.analyse", shared=False)  # type: ignore[untyped-decorator]
    def analyse_task(revision_id: str) -> None:
        from daemon.work import analyse

        _run_stage("analyse", revision_id, lambda: analyse.run(context(), revision_id))

    @app.task(name="axrad.report", shared=False)  # type: ignore[untyped-decorator]
    def report_task(revision_id: str) -> None:
        from daemon.work import report

        _run_stage("report", revision_id, lambda: report.run(context(), revision_id))

    @app.task(name="axrad.propose", shared=False)  # type: ignore[untyped-decorator]
    def propose_task(proposal_id: str) -> None:
        from daemon.work import propose

        _run_stage("propose", proposal_id, lambda: propose.run(context(), proposal_id))

    @app.task(name="axrad.deliver", shared=False)  # type: ignore[untyped-decorator]
    def deliver_task(delivery_id: str) -> None:
        from daemon.work import deliver

        _run_stage("deliver", delivery_id, lambda: deliver.run(context(), delivery_id))

    @app.task(name="axrad.fetch", shared=False)  # type: ignore[untyped-decorator]
    def fetch_task(fetch_id: str) -> None:
        from daemon.work import fetch

        _run_stage("fetch", fetch_id, lambda: fetch.run(context(), fetch_id))


def _run_stage(stage: str, row_id: object, work: Callable[[], None]) -> None:
    """Work that will be tried again is a retry to Celery and Flower, not a failure. The ledger does the retrying: when
    the lease has run out, where not even the failure could be written down."""
    try:
        with counters.stage(stage):
            messages.check(current_task.request, row_id)
            work()
    except TaskFailed as failure:
        if failure.final:
            raise
        raise Retry(str(failure), failure) from None
    except TryLater as error:
        raise Retry(error.code) from None
