"""Processes beside the indexer that read headers. They are started when there is something to read, and end when
there has been nothing for a while.

A process that dies is started again and reads its lines again, each by itself, so that its file is known: after two
crashes it is set aside (`daemon.recovery.unreadable_files`) and reads as unreadable. No other file is.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

import structlog

from config.schema import Log
from daemon.clock import Clock
from daemon.indexing import header_process
from daemon.indexing.header_process import Answer, Request
from daemon.indexing.line_reading import Rules
from daemon.ledger.chunks import in_chunks
from daemon.ledger.instances import Arrival
from daemon.recovery import unreadable_files
from daemon.spool.journal import Entry
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.indexer")
MOST_PROCESSES = 4
# Lines of one request. Fewer cost messages, more leave one process waiting for another.
LINES_OF_A_REQUEST = 25
HEADERS_IDLE_S = 600.0
START_S, END_S = 120.0, 2.0
# For one request, of anything: a disk that does not answer. Processor time is limited by the process itself.
ANSWER_S = 300.0
# A file is set aside after five deaths at the most. Where it is not, something else is the matter.
MOST_DEATHS = unreadable_files.KILLS + 1


class HeadersNotRead(TryLater):
    """No process that reads headers can be started. The lines stay in their journals."""

    code = "headers-not-read"


class _Died(Exception):
    """The process is no more, or had to be ended."""


class _Process:
    """One process and the pipe to it. Raises HeadersNotRead where it cannot be started."""

    def __init__(self, root: Path, settings: Log) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=header_process.main, args=(root, settings, theirs), name="axrad-headers")
        try:
            self._process.start()
        except OSError as error:
            self._pipe.close()
            raise HeadersNotRead(f"a process that reads headers cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        try:
            self._receive(START_S)
        except _Died:
            self.end()
            raise HeadersNotRead("a process that reads headers ended as it started") from None

    def answer_to(self, request: Request) -> Answer:
        """Raises _Died."""
        try:
            self._pipe.send(request)
        except OSError as error:
            raise _Died from error
        return self._receive(ANSWER_S)

    def _receive(self, limit_s: float) -> Answer:
        try:
            if not self._pipe.poll(limit_s):
                raise _Died
            answer: Answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise _Died from error
        return answer

    def end(self) -> None:
        """See it end, as it does when nobody asks any more; otherwise end it."""
        self._pipe.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class HeaderPool:
    """One process per core, up to four, each asked by a thread of its own."""

    def __init__(self, root: Path, settings: Log, clock: Clock, processes: int | None = None) -> None:
        self._root, self._settings, self._clock = root, settings, clock
        number = processes or min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
        self._threads = ThreadPoolExecutor(number, "ask-for-headers")
        # None: a process that is not running.
        self._free: SimpleQueue[_Process | None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)
        self._asked_at = time.monotonic()

    def __enter__(self) -> HeaderPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown()
        self._end_all()

    def read(self, entries: Sequence[Entry], rules: Rules, now: float) -> list[Arrival | None]:
        """What lines that bring files bring, in their order. None where that cannot be read now.

        Raises HeadersNotRead.
        """
        self._asked_at = time.monotonic()
        requests = [Request(some, rules, now) for some in in_chunks(entries, LINES_OF_A_REQUEST)]
        return [arrival for arrivals in self._threads.map(self._answered, requests) for arrival in arrivals]

    def end_idle(self) -> None:
        """End the processes where there was nothing to read for a while. Not while they are asked."""
        if time.monotonic() - self._asked_at > HEADERS_IDLE_S:
            self._end_all()

    def _end_all(self) -> None:
        for _ in range(self._free.qsize()):
            process = self._free.get()
            if process is not None:
                process.end()
            self._free.put(None)

    def _answered(self, request: Request) -> Sequence[Arrival | None]:
        try:
            return self._by_a_process(request)
        except _Died:
            self._judge_deaths()
        return [self._one(replace(request, entries=(entry,))) for entry in request.entries]

    def _one(self, request: Request) -> Arrival | None:
        """A line by itself, again and again until its file is set aside."""
        for _ in range(MOST_DEATHS):
            try:
                return self._by_a_process(request)[0]
            except _Died:
                self._judge_deaths()
        # Left to the walk through the spool, like all that cannot be read now.
        log.error("file-unreadable", path=request.entries[0].path, error="its readers die")
        return None

    def _judge_deaths(self) -> None:
        log.warning("header-reader-died")
        unreadable_files.judge_notes(self._root, self._clock())

    def _by_a_process(self, request: Request) -> Sequence[Arrival | None]:
        """Raises _Died, HeadersNotRead."""
        process = self._free.get()
        try:
            process = process or _Process(self._root, self._settings)
            answer = process.answer_to(request)
        except BaseException:
            if process is not None:
                process.end()
            process = None
            raise
        finally:
            self._free.put(process)
        if answer.later:
            raise HeadersNotRead(answer.later)
        return answer.arrivals
