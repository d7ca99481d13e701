"""A worker's sign of life in the ledger, every half minute: its queues and how many processes it has.

Written by the worker's main process between two of its duties: a thread would be cut in half by the forks of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutdown

from config.schema import Settings
from daemon.clock import system_clock
from daemon.ledger import heartbeats, obsolete, open_ledger
from daemon.ledger.heartbeats import WORKER_GONE_S
from daemon.machine import liveness_file
from daemon.share.exam_files import forget_old_copies
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.work")
# Between two looks for copies of images that nobody used for long.
CLEAN_COPIES_S = 3600.0


def give_signs(settings: Settings, name: str, queues: Sequence[str], processes: int) -> None:
    """From when this process's worker is ready until it ends in order."""
    detail = {"queues": list(queues), "processes": processes, **obsolete.names_of(settings)}

    looked_at = 0.0

    def clean_copies() -> None:
        nonlocal looked_at
        if system_clock() - looked_at >= CLEAN_COPIES_S:
            looked_at = system_clock()
            removed = forget_old_copies(settings, looked_at)
            if removed:
                log.info("copies-removed", files=removed)

    def leave(present: bool) -> None:
        liveness_file.touch()
        clean_copies()
        try:
            # Opened each time: a connection that is open when the pool forks must not be shared.
            ledger = open_ledger(settings)
            try:
                with ledger.write() as connection:
                    if present:
                        heartbeats.sign(connection, name, "worker", system_clock(), detail)
                    else:
                        heartbeats.forget(connection, name)
            finally:
                ledger.close()
        except TryLater as error:
            log.warning("no-sign-left", code=error.code)

    # Any: Celery, which ships no types, gives its worker and whatever else belongs to the signal.
    def ready(sender: Any, **_: Any) -> None:
        leave(True)
        sender.timer.call_repeatedly(WORKER_GONE_S / 3, leave, (True,))

    worker_ready.connect(ready, weak=False)
    worker_shutdown.connect(lambda **_: leave(False), weak=False)
