"""Pieces of one exam worked on by several processes at once, for code that holds the interpreter lock."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from config import schema as settings
from pipeline.parallel import parent_watch
from pipeline.records import Json

Work = Callable[[], Json]

# One byte of a pipe per piece. What is beyond is left to the process that asks.
MOST_SHARED_PIECES = 255
# A process that has been silent for so long after the others had finished is given up.
SILENCE_LIMIT_S = 60.0


def cores_for(work: settings.Work) -> int:
    """How many cores one exam may use: its worker's part of those that there are."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    return work.threads or max(1, cores // work.processes)


def share(works: Sequence[Work], processes: int) -> list[Json]:
    """The answers of all `works`, in their order. With several `processes`, each takes the next piece when it is free.

    The others are forked, so that nothing has to be handed to them, and live no longer than this call. `works` must do
    without locks that another thread may hold, and without threads; their answers go through JSON, which keeps every
    number as it is. Whatever a process does not answer, for whatever reason, is done here: errors are raised here, as
    they would be without it.
    """
    if processes < 2 or len(works) < 2 or sys.platform != "linux":
        return [work() for work in works]
    queue, filling = os.pipe()
    os.write(filling, bytes(range(min(len(works), MOST_SHARED_PIECES))))
    os.close(filling)
    others = [_fork(works, queue) for _ in range(min(processes, len(works)) - 1)]
    answers: dict[int, Json] = {}
    try:
        while (piece := os.read(queue, 1)) != b"":
            answers[piece[0]] = works[piece[0]]()
        for pid, pipe in others:
            answers |= _answers(_all_of(pid, pipe))
    finally:
        os.close(queue)
        for pid, pipe in others:
            _end(pid, pipe)
    return [answers[n] if n in answers else work() for n, work in enumerate(works)]


def _fork(works: Sequence[Work], queue: int) -> tuple[int, int]:
    """A process that takes pieces until there are none, and then writes its answers; its id, and the pipe to read."""
    reading, writing = os.pipe()
    parent_watch.prepare()
    asking = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        # Or it would work on, and hold standard output open, when the one that asks is killed.
        parent_watch.end_with(asking)
        os.close(reading)
        # Objects made before are not looked at, so their memory stays shared.
        gc.disable()
        answers = {}
        while (piece := os.read(queue, 1)) != b"":
            answers[piece[0]] = works[piece[0]]()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answers).encode())
        status = 0
    finally:
        # Not the ordinary end: what the parent has open, buffered or registered is the parent's.
        os._exit(status)


def _all_of(pid: int, pipe: int) -> bytes:
    """What is written until the other end closes; nothing if it stays silent."""
    received = b""
    watch = select.poll()
    watch.register(pipe, select.POLLIN)
    while watch.poll(SILENCE_LIMIT_S * 1000):
        data = os.read(pipe, 1 << 20)
        if not data:
            return received
        received += data
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return b""


def _answers(written: bytes) -> Mapping[int, Json]:
    try:
        return {int(piece): answer for piece, answer in json.loads(written).items()}
    except ValueError:
        return {}


def _end(pid: int, pipe: int) -> None:
    os.close(pipe)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
