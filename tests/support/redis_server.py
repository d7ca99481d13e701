"""A real redis-server on a loopback port, and a fake for what a real one cannot be made to answer."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.postgres import free_port
from tests.support.waiting import wait_for


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[redis.Redis]:
    """Yields a client; `url_of(client)` is its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    # Its own patience of some seconds would end MONITOR where a slow machine leaves the broker quiet for longer.
    client = redis.Redis(port=port, socket_timeout=None)
    try:
        wait_for(lambda: _answers(client), "Redis")
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
    except redis.RedisError:
        return True  # it wants a password


def url_of(client: redis.Redis, who: str = "") -> str:
    return f"redis://{who}127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


@contextmanager
def answering(error: bytes) -> Iterator[str]:
    """The URL of a server that answers every command but HELLO, CLIENT and PING with this error."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while words := self._command():
                polite = words[0].upper() in (b"CLIENT", b"PING", b"SELECT")
                hello = b"%1\r\n$5\r\nproto\r\n:3\r\n" if words[0].upper() == b"HELLO" else b""
                self.wfile.write(hello or (b"+OK\r\n" if polite else b"-" + error + b"\r\n"))

        def _command(self) -> list[bytes]:
            head = self.rfile.readline()
            words = []
            for _ in range(int(head[1:] or b"0")):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            return words

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: Any) -> None:
            """Whoever goes without a word is no matter here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()
        thread.join()
