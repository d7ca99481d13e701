"""`axrad observe`: serves figures and health, and sends notices. It only reads, and no other process waits for it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping

import structlog
from celery import Celery

from config.schema import Settings
from daemon import metrics
from daemon.broker.queue_names import NAMES
from daemon.broker.redis_client import queue_lengths
from daemon.broker.server import broker_url
from daemon.clock import Clock, system_clock
from daemon.ledger import Ledger
from daemon.ledger.engine import bare_ledger
from daemon.logs import Recurring, place_of
from daemon.notify.channels import channels_of
from daemon.notify.notifier import Notifier
from daemon.observer.http_server import CountedCollector, Pages
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.observer.traffic_probes import Health
from daemon.processes.celery_app import make_app
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.observe")
BIND_AGAIN_S = 10.0


def pages(settings: Settings, ledger: Ledger, clock: Clock = system_clock) -> Pages:
    """The HTTP server, bound and not yet serving. Raises OSError where the address is taken."""

    @functools.lru_cache(maxsize=1)
    def app(url: str) -> Celery:
        return make_app(settings, url)

    def lengths() -> Mapping[str, int]:
        try:
            return queue_lengths(app(broker_url(settings)), NAMES)
        except TryLater:
            return {}

    health = Health(settings, ledger, lambda: broker_url(settings), clock)
    collectors = [CountedCollector(metrics.root(settings)), LedgerCollector(settings, ledger, clock, lengths)]
    return Pages((settings.metrics.host, settings.metrics.port), collectors, health)


def observe(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop`. A port that is taken is tried again. A ledger that is away shows as a failed health check."""
    ledger = bare_ledger(settings)
    server = _bound(settings, ledger, stop)
    if server is None:
        return
    with server:
        log.info("observing", host=settings.metrics.host, port=server.server_port)
        _send_notices(settings, ledger, stop)
    ledger.close()


def _send_notices(settings: Settings, ledger: Ledger, stop: threading.Event) -> None:
    """Until `stop`, look for conditions that need people, and send notices where a channel is configured."""
    channels = channels_of(settings)
    notifier = Notifier(settings, ledger, system_clock, channels)
    away = Recurring(log, "ledger-away")
    while not stop.wait(settings.notify.every_s):
        if not channels:
            continue
        try:
            notifier.tick()
        except TryLater as error:
            away.note(error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001 - the outermost loop: pages are served whatever happens here
            log.error("not-looked", error=type(error).__name__, at=place_of(error))


def _bound(settings: Settings, ledger: Ledger, stop: threading.Event) -> Pages | None:
    while True:
        try:
            return pages(settings, ledger)
        except OSError as error:
            log.error("cannot-listen", host=settings.metrics.host, port=settings.metrics.port, reason=error.strerror)
        if stop.wait(BIND_AGAIN_S):
            return None
