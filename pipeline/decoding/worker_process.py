"""The process that decodes: limited in memory and time, and nothing is lost when it dies.

It reads requests from its standard input and answers on its standard output, until the other end closes or nothing has
been asked for a while. Codecs may write to standard output; that goes nowhere.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.codestream import Shape
from pipeline.decoding import in_process
from pipeline.decoding.wire_format import LENGTH, SIZE, Message, packed, unpacked

IDLE_S = 60.0
PAGE = resource.getpagesize()


def main() -> None:
    """Answer until nobody asks any more."""
    # Ctrl-C goes to everyone before the screen; the one that asks decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, answers, nowhere = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    with suppress(BrokenPipeError):
        while (request := _request(asked)) is not None:
            _write(answers, *_answer(*request))
    # Nothing here is worth the time that an ordinary end takes.
    os._exit(0)


def _request(asked: int) -> tuple[Message, bytes] | None:
    if not select.select([asked], [], [], IDLE_S)[0]:
        return None
    head = _read(asked, LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    message = unpacked(_read(asked, LENGTH.unpack(head)[0]))
    return message, _read(asked, message[SIZE])


def _read(fd: int, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (piece := os.read(fd, min(1 << 20, size - len(received)))):
        received += piece
    return bytes(received)


def _write(fd: int, message: Message, data: bytes) -> None:
    for piece in (packed(message, data), data):
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]


def _answer(message: Message, data: bytes) -> tuple[Message, bytes]:
    limit(message["memory"], message["cpu_s"])
    try:
        return _WORKS[message["do"]](message, data)
    except MemoryError:
        return {"error": "it takes more memory than it may", "limit": True}, b""
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever a codec raises is the answer
        # Their own words are many, and may quote values of the header.
        return {"error": f"its decoders take the data for damaged ({type(error).__name__})"}, b""


def limit(memory: int, cpu_s: int) -> None:
    """Let this process have so much more memory and processor time than it has now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + cpu_s)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _set(resource.RLIMIT_AS, pages * PAGE + memory)


def _set(resource_kind: int, value: int) -> None:
    _, hard = resource.getrlimit(resource_kind)
    resource.setrlimit(resource_kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _frame(message: Message, data: bytes) -> tuple[Message, bytes]:
    pixels = in_process.decode(data, message["syntax"], Shape(**message["shape"]), raw=message["raw"])
    return {"dtype": pixels.dtype.str, "shape": pixels.shape}, pixels.tobytes()


def _content(message: Message, _data: bytes) -> tuple[Message, bytes]:
    from pipeline.decoding.content import content_digest

    return {"digest": content_digest(Path(message["path"]))}, b""


_WORKS: dict[str, Callable[[Message, bytes], tuple[Message, bytes]]] = {"frame": _frame, "content": _content}
