"""The Celery application. Messages are JSON with one opaque id; the ledger, not the broker, is the queue of record."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from config.schema import Settings
from daemon.clock import system_clock
from daemon.ledger import open_ledger
from daemon.work.context import Context

# task: the queue it goes to. A queue has workers of its own, so that a dead PACS stops no science and
# long science stops no sweep.
QUEUES = {
    "axrad.analyse": "analyse",
    "axrad.report": "analyse",
    "axrad.deliver": "deliver",
    "axrad.sweep": "sweep",
}
ROLES = {"analyse": ("analyse",), "deliver": ("deliver",), "sweep": ("sweep",)}


def make_app(settings: Settings, url: str) -> Celery:
    """The application with its tasks, for workers, beat and Flower alike."""
    app = Celery("axrad", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # the ledger's lease brings the work back, the broker must not too
        worker_prefetch_multiplier=1,
        task_time_limit=settings.work.time_limit_s,
        task_routes={task: {"queue": queue} for task, queue in QUEUES.items()},
        task_default_queue="analyse",
        task_create_missing_queues=True,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": max(3600, int(settings.work.time_limit_s * 4)),
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
        },
        beat_scheduler="celery.beat:Scheduler",  # no shelve file
        beat_schedule={
            "sweep": {
                "task": "axrad.sweep",
                "schedule": settings.assembly.sweep_s,
                # A tick that nobody took in time is worth nothing: the next one does the same.
                "options": {"expires": max(10.0, settings.assembly.sweep_s * 5)},
            }
        },
        timezone="UTC",
        enable_utc=True,
    )
    _add_tasks(app, settings)
    return app


def make_context(app: Celery, settings: Settings) -> Context:
    """A context whose announcements go to the broker; one that does not answer is no error, the sweep repeats them."""

    def announce(task: str, row_id: str) -> None:
        app.send_task(task, args=[row_id], retry=False, ignore_result=True)

    return Context(settings, open_ledger(settings), system_clock, _never_failing(announce))


def _never_failing(announce: Callable[[str, str], None]) -> Callable[[str, str], None]:
    from kombu.exceptions import OperationalError

    def quiet(task: str, row_id: str) -> None:
        try:
            announce(task, row_id)
        except OperationalError:
            import structlog

            structlog.get_logger("axrad.work").warning("broker-away", task=task)

    return quiet


def _add_tasks(app: Celery, settings: Settings) -> None:
    @functools.cache
    def context() -> Context:
        return make_context(app, settings)

    # A forked pool process must not share its parent's database connections.
    def fresh(**_: Any) -> None:
        context.cache_clear()

    worker_process_init.connect(fresh, weak=False)

    @app.task(name="axrad.sweep")  # type: ignore[untyped-decorator]
    def sweep_task() -> None:
        from daemon.work.sweep import sweep

        sweep(context())

    @app.task(name="axrad.analyse")  # type: ignore[untyped-decorator]
    def analyse_task(revision_id: str) -> None:
        from daemon.work import analyse

        analyse.run(context(), revision_id)

    @app.task(name="axrad.report")  # type: ignore[untyped-decorator]
    def report_task(revision_id: str) -> None:
        from daemon.work import report

        report.run(context(), revision_id)

    @app.task(name="axrad.deliver")  # type: ignore[untyped-decorator]
    def deliver_task(delivery_id: str) -> None:
        from daemon.work import deliver

        deliver.run(context(), delivery_id)
