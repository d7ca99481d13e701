"""`serve`: one listening socket, several acceptor processes on it, each started again when it dies."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from config.schema import Listen, Settings
from daemon.listener.admission import tls_context
from daemon.listener.association_slots import Slots
from daemon.spool import Spool, check_usable
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.listener")

TICK_S = 0.1
STATE_EVERY_S = 2.0
STOP_S = 15.0
# A process that dies at once is started again ever more slowly, up to this.
MAX_PAUSE_S = 30.0
HEALTHY_S = 60.0
CODE = "import sys; from daemon.listener.acceptor import main; main(*map(int, sys.argv[1:]))"


@dataclass
class Child:
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


def serve(settings: Settings, stop: threading.Event | None = None) -> None:
    """Receive until `stop` is set or, in the main thread, SIGTERM or SIGINT comes.

    Raises:
        InputRejected: the address cannot be listened on, the certificate cannot be read, the spool cannot be used.
    """
    stop = stop or threading.Event()
    _check_certificates(settings.listen)
    check_usable(settings.spool.path)
    with _signals(stop), _listening(settings.listen) as listening:
        port = listening.getsockname()[1]
        spool = Spool(settings.spool.path)
        spool.clear_incoming()
        listen = settings.listen
        slots = Slots.create(listen.max_associations, listen.max_associations_per_peer)
        children = [Child(number) for number in range(1, listen.acceptors + 1)]
        log.info("listening", ae_title=listen.ae_title, host=listen.host, port=port, acceptors=listen.acceptors)
        try:
            _watch(settings, children, listening, slots, stop)
        finally:
            _end(children)
            _state_file(settings).unlink(missing_ok=True)
            slots.close()
        log.info("stopped listening", port=port)


def _watch(
    settings: Settings, children: list[Child], listening: socket.socket, slots: Slots, stop: threading.Event
) -> None:
    state_written_at = float("-inf")
    while not stop.is_set():
        changed = False
        for child in children:
            changed |= _tend(settings, child, listening, slots)
        if changed or time.monotonic() - state_written_at > STATE_EVERY_S:
            state_written_at = time.monotonic()
            _tell(settings, children, listening, slots)
        stop.wait(TICK_S)


def _tend(settings: Settings, child: Child, listening: socket.socket, slots: Slots) -> bool:
    """Start the child where it is not running. True if anything changed."""
    now = time.monotonic()
    if child.process is not None:
        code = child.process.poll()
        if code is None:
            return False
        slots.reap(child.number)
        _let_go(child.process)
        child.process = None
        child.deaths = 0 if now - child.started > HEALTHY_S else child.deaths + 1
        child.not_before = now + _pause_s(child)
        log.error("acceptor ended", acceptor=child.number, code=code)
        return True
    if now < child.not_before:
        return False
    arguments = [str(listening.fileno()), str(slots.fd), str(child.number)]
    try:
        child.process = subprocess.Popen(
            [sys.executable, "-c", CODE, *arguments],
            stdin=subprocess.PIPE,
            pass_fds=(listening.fileno(), slots.fd),
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends its children in order
        )
    except OSError as error:
        # Descriptors or memory may be there in a while; the other acceptors go on.
        child.deaths += 1
        child.not_before = now + _pause_s(child)
        name = errno.errorcode.get(error.errno or 0, "OSError")
        log.error("acceptor does not start", acceptor=child.number, error=name)
        return False
    child.started = now
    assert child.process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once; the next look starts another
        child.process.stdin.write(settings.model_dump_json().encode() + b"\n")
        child.process.stdin.flush()
    return True


def _pause_s(child: Child) -> float:
    return min(MAX_PAUSE_S, 0.1 * 2.0 ** min(child.deaths, 10))


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """The end of its input tells an acceptor to stop."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _end(children: list[Child]) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        _let_go(process)
    deadline = time.monotonic() + STOP_S
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check_certificates(listen: Listen) -> None:
    """Once and here, rather than in processes that would die of it again and again."""
    try:
        tls_context(listen)
    except (OSError, ValueError) as error:
        raise InputRejected(
            f"the TLS certificate, key or CA cannot be used: {error}", code="bad-certificate"
        ) from error


@contextmanager
def _listening(listen: Listen) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((listen.host, listen.port))
            listening.listen(128)
        except OSError as error:
            raise InputRejected(
                f"cannot listen on {listen.host}:{listen.port}: {error.strerror}", code="cannot-listen"
            ) from error
        yield listening


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; elsewhere than in the main thread they are somebody else's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# What others may know of a running listener


def _state_file(settings: Settings) -> Path:
    return settings.spool.path / f"listener.{socket.gethostname()}.json"


def _tell(settings: Settings, children: list[Child], listening: socket.socket, slots: Slots) -> None:
    load = slots.per_acceptor()
    state = {
        "pid": os.getpid(),
        "host": settings.listen.host,
        "port": listening.getsockname()[1],
        "acceptors": [child.process.pid for child in children if child.process is not None],
        "associations": sum(load.values()),
        "max_associations": settings.listen.max_associations,
        "busiest_peer": slots.of_busiest_peer(),
    }
    path = _state_file(settings)
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(state), encoding="ascii")
        temporary.rename(path)
    except OSError as error:
        log.warning("the listener's state cannot be written", errno=error.errno)


def state(settings: Settings) -> dict[str, object] | None:
    """What the listener on this machine last said of itself: port, processes, associations. None: it is not running."""
    try:
        known: dict[str, object] = json.loads(_state_file(settings).read_text(encoding="ascii"))
        os.kill(int(str(known["pid"])), 0)
    except (FileNotFoundError, ValueError, KeyError, ProcessLookupError):
        return None
    except PermissionError:
        pass  # it runs, under another user
    return known
