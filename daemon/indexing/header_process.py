"""The process that reads headers for the indexer: one that may die of a file, and is then started again.

It notes which file it reads, as every reader does, so that a file that kills it twice is set aside by name. A file that
asks for more processor time or memory than a header can need ends the process like a crash.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from config.schema import Log
from daemon.indexing.line_reading import Rules, arrival_of
from daemon.ledger.instances import Arrival
from daemon.logs import guard_last_words, set_up
from daemon.spool import Spool
from daemon.spool.journal import Entry
from pipeline.dicom_file.reading_marker import note_processor_limit, note_what_is_read
from pipeline.errors import TryLater

# For one file: the largest header that is read takes some ten seconds.
HEADER_CPU_S = 60
# Above what the process has when it starts. A header of 64 MB and a million elements takes a gigabyte.
HEADER_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Request:
    """Lines that bring files, and how these are read."""

    entries: Sequence[Entry]
    rules: Rules
    now: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the lines bring, in their order; or why none can be read just now."""

    arrivals: Sequence[Arrival | None] = ()
    later: str = ""


READY = Answer()


def main(root: Path, log: Log, pipe: Connection) -> None:
    """Answer until nobody asks any more."""
    set_up(log, "index")
    guard_last_words()
    # Who asks is told to stop, and closes the pipe.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    note_what_is_read(root, "the indexer")
    note_processor_limit()
    _limit_memory()
    spool = Spool(root)
    try:
        pipe.send(READY)
        while True:
            pipe.send(_answer(spool, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(spool: Spool, request: Request) -> Answer:
    arrivals = []
    for entry in request.entries:
        _limit_processor()
        try:
            arrivals.append(arrival_of(spool, entry, request.rules, request.now))
        except TryLater as error:
            return Answer(later=error.message)
    return Answer(arrivals)


def _limit_processor() -> None:
    """From now on, for one file."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + 1 + HEADER_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _limit_memory() -> None:
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = pages * resource.getpagesize() + HEADER_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
