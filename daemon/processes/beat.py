"""Beat: ticks the sweep, and records a heartbeat in the ledger. While the broker is away, only ticks are lost."""

from __future__ import annotations

import os
import socket
import time
from typing import Any  # Any: a producer of kombu, which ships no types

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError

from config.schema import Settings
from daemon.broker.redis_client import ERRORS, trouble_of
from daemon.clock import system_clock
from daemon.ledger import heartbeats, open_ledger
from daemon.logs import Recurring
from pipeline.errors import AxradError

log = structlog.get_logger("axrad.beat")
SIGN_EVERY_S = heartbeats.WORKER_GONE_S / 3


def scheduler(settings: Settings) -> type[Scheduler]:
    """Celery's scheduler, which survives a broker that is away and records heartbeats."""

    class Ticker(Scheduler):  # type: ignore[misc]
        away = Recurring(log, "broker-away")
        signed_at = float("-inf")

        def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
            try:
                self.apply_async(entry, producer=producer, advance=False)
            except (SchedulingError, *ERRORS) as error:
                trouble = trouble_of(error)
                self.away.note(trouble.code, reason=trouble.message)
            if time.monotonic() - self.signed_at >= SIGN_EVERY_S:
                self.signed_at = time.monotonic()
                sign(settings)

    return Ticker


def sign(settings: Settings) -> None:
    """Record a heartbeat of this beat. A ledger that cannot be written to has an alarm of its own."""
    try:
        ledger = open_ledger(settings)
        try:
            with ledger.write() as connection:
                name = f"beat@{socket.gethostname()}:{os.getpid()}"
                heartbeats.sign(connection, name, "beat", system_clock())
        finally:
            ledger.close()
    except AxradError as error:
        log.warning("no-sign-left", code=error.code)
