"""The listening process: acceptors that only receive, the indexer in a process of its own, the shared spool."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import structlog

from config.schema import Settings
from daemon import audit
from daemon.listener import commitment, serve
from daemon.machine.kept_process import Ended, KeptProcess, NotStarted, Pauses
from daemon.processes.settings_change import tell_of_changed_settings
from daemon.share.server import sharing

log = structlog.get_logger("axrad.listen")
# Storage commitment that was asked of us and could not be reported at once is tried again, by its own schedule.
COMMITMENT_EVERY_S = 10.0
INDEXER_NICENESS = 5
# An indexer is started again with the next look: without one the ledger learns nothing.
NO_PAUSES = Pauses(first_s=0.0, longest_s=0.0, quick_s=0.0)


def _run_indexer(settings: Settings) -> None:
    from daemon.indexing import indexer
    from daemon.logs import guard_last_words, place_of, set_up

    set_up(settings.log, "index")
    guard_last_words()
    # With the processes that it starts: what arrives comes first, and is indexed once there is time.
    os.nice(INDEXER_NICENESS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_with_parent, args=(stop,), name="lifeline", daemon=True).start()
    try:
        indexer.run(settings, stop)
    except Exception as error:  # noqa: BLE001 - multiprocessing would print it with all that it quotes
        log.error("died", error=type(error).__name__, at=place_of(error))
        sys.exit(1)


def _stop_with_parent(stop: threading.Event) -> None:
    """End the indexer with its listener. After a killed listener it would hold its lock for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    stop.set()


def keep_indexing(start: Callable[[], BaseProcess], stop: threading.Event, every_s: float = 1.0) -> None:
    """Until `stop`: an indexer that ended, or could not be started for want of descriptors, is started again."""
    indexer = KeptProcess("index", start, lambda process: process.exitcode, NO_PAUSES)
    while True:
        change = indexer.tend()
        if isinstance(change, Ended):
            log.error("indexer-died", exitcode=change.exit_code)
            change = indexer.tend()
        if isinstance(change, NotStarted):
            log.error("indexer-does-not-start", error=errno.errorcode.get(change.error.errno or 0, "OSError"))
        if stop.wait(every_s):
            break
    if indexer.process is not None:
        indexer.process.terminate()
        indexer.process.join(10)


def receive(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop`; an indexer that dies is started again."""
    spawn = multiprocessing.get_context("spawn")

    def start() -> BaseProcess:
        process = spawn.Process(target=_run_indexer, args=(settings,), name="axrad-index")
        process.start()
        return process

    def report_commitments() -> None:
        while not stop.wait(COMMITMENT_EVERY_S):
            try:
                commitment.send_due_reports(settings)
            except Exception as error:  # noqa: BLE001 - the outermost loop of this thread
                log.error("commitment-round-failed", error=type(error).__name__)

    threads = [threading.Thread(target=work) for work in (lambda: keep_indexing(start, stop), report_commitments)]
    for thread in threads:
        thread.start()
    try:
        audit.activity(settings, started=True)
        tell_of_changed_settings(settings)
        with sharing(settings.spool, lambda address, reason: audit.refused_share(settings, address, reason)):
            serve(settings, stop)
    finally:
        audit.activity(settings, started=False)
        stop.set()
        for thread in threads:
            thread.join()
