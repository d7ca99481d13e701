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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import structlog

from config.schema import Listen, Settings
from daemon.listener.association_slots import Slots
from daemon.machine.kept_process import Ended, KeptProcess, NotStarted, Pauses, Started
from daemon.network.server_tls import listener_files, server_context
from daemon.spool import Spool, check_usable
from pipeline.errors import InputRejected
from pipeline.whole_file import write_whole

log = structlog.get_logger("axrad.listener")

TICK_S = 0.1
STATE_EVERY_S = 2.0
ACCEPTORS_STOP_S = 15.0
PAUSES = Pauses(first_s=0.1, longest_s=30.0, quick_s=60.0)
CODE = "import sys; from daemon.listener.acceptor import main; main(*map(int, sys.argv[1:]))"


Acceptor = KeptProcess["subprocess.Popen[bytes]"]


def serve(settings: Settings, stop: threading.Event | None = None) -> None:
    """Receive until `stop` is set or, in the main thread, SIGTERM or SIGINT comes.

    Raises:
        InputRejected: the address cannot be listened on, the certificate cannot be read, the spool cannot be used.
    """
    stop = stop or threading.Event()
    _check_certificates(settings.listen)
    check_usable(settings.spool.path, settings.spool.id)
    with _signals(stop), _listening(settings.listen) as listening:
        port = listening.getsockname()[1]
        spool = Spool(settings.spool.path)
        spool.clear_incoming()
        listen = settings.listen
        slots = Slots.create(listen.max_associations, listen.max_associations_per_peer)
        acceptors = {
            number: acceptor_process(settings, number, listening, slots) for number in range(1, listen.acceptors + 1)
        }
        log.info("listening", ae_title=listen.ae_title, host=listen.host, port=port, acceptors=listen.acceptors)
        try:
            _watch(settings, acceptors, listening, slots, stop)
        finally:
            _end(acceptors.values())
            _state_file(settings).unlink(missing_ok=True)
            slots.close()
        log.info("stopped listening", port=port)


def _watch(
    settings: Settings, acceptors: dict[int, Acceptor], listening: socket.socket, slots: Slots, stop: threading.Event
) -> None:
    state_written_at = float("-inf")
    while not stop.is_set():
        changed = False
        for number, acceptor in acceptors.items():
            changed |= _tend(number, acceptor, slots)
        if changed or time.monotonic() - state_written_at > STATE_EVERY_S:
            state_written_at = time.monotonic()
            _write_state(settings, acceptors.values(), listening, slots)
        stop.wait(TICK_S)


def acceptor_process(settings: Settings, number: int, listening: socket.socket, slots: Slots) -> Acceptor:
    """An acceptor, not yet started: it inherits the socket and the slots, and reads the settings from its input."""

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(listening.fileno()), str(slots.fd), str(number)],
            stdin=subprocess.PIPE,
            pass_fds=(listening.fileno(), slots.fd),
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends its children in order
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; the next look starts another
            process.stdin.write(settings.model_dump_json().encode() + b"\n")
            process.stdin.flush()
        return process

    return KeptProcess(f"acceptor-{number}", start, subprocess.Popen.poll, PAUSES)


def _tend(number: int, acceptor: Acceptor, slots: Slots) -> bool:
    """Start the acceptor where it is not running. True if a process was started or has ended."""
    match acceptor.tend():
        case Ended(process=process, exit_code=code):
            slots.reap(number)
            _let_go(process)
            log.error("acceptor ended", acceptor=number, code=code)
            return True
        case NotStarted(error=error):
            # Descriptors or memory may be there in a while; the other acceptors go on.
            reason = errno.errorcode.get(error.errno or 0, "OSError")
            log.error("acceptor does not start", acceptor=number, error=reason)
            return False
        case Started():
            return True
    return False


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """The end of its input tells an acceptor to stop."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _end(acceptors: Iterable[Acceptor]) -> None:
    running = [acceptor.process for acceptor in acceptors if acceptor.process is not None]
    for process in running:
        _let_go(process)
    deadline = time.monotonic() + ACCEPTORS_STOP_S
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check_certificates(listen: Listen) -> None:
    """Once and here, rather than in processes that would die of it again and again."""
    try:
        server_context(listener_files(listen))
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


def _write_state(settings: Settings, acceptors: Iterable[Acceptor], listening: socket.socket, slots: Slots) -> None:
    load = slots.per_acceptor()
    state = {
        "pid": os.getpid(),
        "host": settings.listen.host,
        "port": listening.getsockname()[1],
        "acceptors": [acceptor.process.pid for acceptor in acceptors if acceptor.process is not None],
        "associations": sum(load.values()),
        "max_associations": settings.listen.max_associations,
        "busiest_peer": slots.of_busiest_peer(),
    }
    try:
        write_whole(_state_file(settings), json.dumps(state).encode("ascii"), synced=False)
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
