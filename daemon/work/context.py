"""The context of all work: settings, ledger, clock, files, and a way to announce the next piece."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import structlog

from config.schema import Settings
from daemon.clock import Clock
from daemon.ledger import Ledger
from daemon.ledger.claims import Claim, LeaseLost, renew
from daemon.ledger.spools import home_in
from daemon.share.exam_files import Files
from daemon.share.spool_files import files_of
from daemon.work.background_thread import running_beside
from daemon.work.exam_limits import EXIT_CODE, watching_limits
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.work")


@dataclass(frozen=True)
class Context:
    """`announce(task, id)` sends a hint through the broker; losing it costs time, never work. False: it was not taken.

    `queued(queue)`: messages in the broker, None where it cannot be asked. `if_emptied(action)`: acts once for each
    time that the broker has lost what it held. `expendable`: this process belongs to a pool that replaces it, so that
    an exam which exceeds its limits may end it.
    """

    settings: Settings
    ledger: Ledger
    clock: Clock
    announce: Callable[[str, str], bool]
    queued: Callable[[str], int | None] = lambda queue: None
    if_emptied: Callable[[Callable[[], None]], None] = lambda action: None
    expendable: bool = False

    @property
    def owner(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"

    @cached_property
    def files(self) -> Files:
        """The files of exams and results, wherever the spool is."""
        return files_of(self.settings, home_in(self.ledger))

    @property
    def results(self) -> Path:
        """Where finished results lie on the machine that has the spool: one folder per revision."""
        return self.settings.spool.path / "results"

    def result_folder(self, revision_id: str) -> Path:
        return self.results / revision_id


@contextmanager
def renewing_lease(
    context: Context, claim: Claim, give_back: Callable[[TryLater], object] | None = None
) -> Iterator[None]:
    """Renew the lease in the background while the body runs.

    With `give_back`, and in a process that may end, the limits of time and memory are watched over as well.
    """
    if give_back is not None and context.expendable:
        work = context.settings.work
        with watching_limits(work.time_limit_s, work.max_memory_bytes, give_back), _renewing(context, claim):
            yield
    else:
        with _renewing(context, claim):
            yield


@contextmanager
def _renewing(context: Context, claim: Claim) -> Iterator[None]:
    lease_s = context.settings.work.lease_s

    def renew_now_and_then(stop: threading.Event) -> None:
        while not stop.wait(lease_s / 3):
            try:
                with context.ledger.write() as connection:
                    renew(connection, claim, context.clock(), lease_s)
            except LeaseLost:
                if context.expendable and claim.kind == "revision":
                    # Cancelled or superseded: nobody wants the result, and the worker has others to work on.
                    log.warning("work-dropped", revision=claim.id)
                    os._exit(EXIT_CODE)
                return
            except TryLater as error:
                log.warning("lease-not-renewed", id=claim.id, code=error.code)

    with running_beside(f"lease-{claim.id}", renew_now_and_then):
        yield
