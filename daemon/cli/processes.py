"""`axrad listen | work | beat | observe`: one process each."""

from __future__ import annotations

import os
import signal
import socket
import sys
import warnings
from pathlib import Path

import click

from daemon import audit, metrics
from daemon.cli.options import config_option
from daemon.cli.process_start import begin, stop_signals
from daemon.spool import check_usable


@click.command()
@config_option
def listen(config_path: Path | None) -> None:
    """Receive exams: acceptors and the indexer of their spool."""
    settings = begin(config_path, "listen")
    check_usable(settings.spool.path, settings.spool.id)
    metrics.set_up(settings)  # before anything that counts is imported
    from daemon.processes.listening import receive

    receive(settings, stop_signals())


@click.command()
@config_option
@click.option(
    "--role",
    type=click.Choice(["all", "analyse", "deliver", "sweep"]),
    default="all",
    show_default=True,
    help="Which queues this worker takes.",
)
@click.option("--concurrency", type=click.IntRange(1), help="Processes; default: work.processes for analyse, else 1.")
def work(config_path: Path | None, role: str, concurrency: int | None) -> None:
    """A Celery worker."""
    settings = begin(config_path, f"work-{role}")
    metrics.set_up(settings)  # before anything that counts is imported
    from daemon.broker.queue_names import NAMES, ROLES
    from daemon.broker.server import broker_url
    from daemon.health.site_files import require_right
    from daemon.processes.celery_app import make_app_in_time
    from daemon.spool.identity import require_id
    from daemon.work.worker_heartbeats import give_signs

    require_right(settings)
    if not settings.spool.remote:
        require_id(settings.spool.path, settings.spool.id)
    app = make_app_in_time(settings, broker_url(settings))
    queues = NAMES if role == "all" else ROLES[role]
    size = concurrency or (settings.work.processes if role in ("all", "analyse") else 4 if role == "deliver" else 1)
    # Celery warns of root at every start; the container runs as another user.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    worker = app.Worker(
        queues=",".join(queues),
        concurrency=size,
        hostname=f"{role}@{socket.gethostname()}",
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        task_events=True,
        pool_cls="prefork",
    )
    give_signs(settings, f"{role}@{socket.gethostname()}:{os.getpid()}", queues, size)
    with audit.running(settings, f"work-{role}"):
        worker.start()
    sys.exit(worker.exitcode)


@click.command()
@config_option
def observe(config_path: Path | None) -> None:
    """Metrics and health over HTTP, and notices to people."""
    from daemon.observer.observing import observe as watch

    settings, stop = begin(config_path, "observe"), stop_signals()
    with audit.running(settings, "observe"):
        watch(settings, stop)


@click.command()
@config_option
def beat(config_path: Path | None) -> None:
    """Tick the sweep. Two beats do no harm."""
    from celery.beat import Service

    from daemon.broker.server import broker_url
    from daemon.processes.beat import scheduler
    from daemon.processes.celery_app import make_app_in_time

    settings = begin(config_path, "beat")
    app = make_app_in_time(settings, broker_url(settings))
    service = Service(app, max_interval=settings.assembly.sweep_s, scheduler_cls=scheduler(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop(wait=False))
    with audit.running(settings, "beat"):
        service.start()
