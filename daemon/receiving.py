"""The listening process: acceptors that only receive, and beside them, in a process of its own, the indexer."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from multiprocessing.process import BaseProcess

import structlog

from config.schema import Settings
from daemon.listener import serve

log = structlog.get_logger("axrad.listen")


def _index(settings: Settings) -> None:
    from daemon import indexer
    from daemon.logs import set_up

    set_up(settings.log, "index")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    indexer.run(settings, stop)


def receive(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop`; an indexer that dies is started again."""
    spawn = multiprocessing.get_context("spawn")

    def start() -> BaseProcess:
        process = spawn.Process(target=_index, args=(settings,), name="axrad-index")
        process.start()
        return process

    def keep_indexing() -> None:
        process = start()
        while not stop.wait(1.0):
            if not process.is_alive():
                log.error("indexer-died", exitcode=process.exitcode)
                process = start()
        process.terminate()
        process.join(10)

    keeper = threading.Thread(target=keep_indexing, name="indexer-keeper")
    keeper.start()
    try:
        serve(settings, stop)
    finally:
        stop.set()
        keeper.join()
