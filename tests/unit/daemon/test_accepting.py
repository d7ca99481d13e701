"""Without descriptors a connection stays in the queue: who accepts rests between two attempts, and goes on."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.schema import Settings, Spool
from daemon.listener.acceptor import Acceptor
from daemon.listener.association_slots import Slots
from daemon.network.accept_backoff import REST_S, SHORT
from daemon.serving.limits import HttpLimits
from daemon.serving.server import HttpServer


class Starved:
    """A listening socket on which a connection waits, and `accept` fails."""

    def __init__(self, real: socket.socket, number: int) -> None:
        self._real, self._number = real, number
        self.attempts = 0

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self) -> Any:
        self.attempts += 1
        raise OSError(self._number, "no")


class Stop(threading.Event):
    """Set at the third rest; so long it says how long each was."""

    def __init__(self) -> None:
        super().__init__()
        self.rests: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.rests.append(timeout)
        if len(self.rests) == 3:
            self.set()
        return self.is_set()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        yield server


@pytest.mark.parametrize("number", SHORT, ids=errno.errorcode.__getitem__)
def test_an_acceptor_without_descriptors_rests_between_attempts(
    listening: socket.socket, tmp_path: Path, number: int
) -> None:
    starved, stop = Starved(listening, number), Stop()
    settings = Settings(spool=Spool(path=tmp_path / "spool"))
    with closing(Slots.create(4, 4)) as slots:
        Acceptor(settings, starved, slots, 1).run(stop)  # type: ignore[arg-type]
    assert (starved.attempts, stop.rests) == (3, [REST_S] * 3)


@pytest.mark.parametrize(("number", "rests"), [(errno.EMFILE, [REST_S]), (errno.ECONNABORTED, [])])
def test_an_http_server_without_descriptors_rests_as_well(
    monkeypatch: pytest.MonkeyPatch, number: int, rests: list[float]
) -> None:
    server = HttpServer(("127.0.0.1", 0), lambda *_: None, HttpLimits())  # type: ignore[arg-type]
    rested: list[float] = []
    monkeypatch.setattr(server, "_listening", Starved(server._listening, number))
    monkeypatch.setattr(server._loop, "remove_reader", lambda _: True)
    monkeypatch.setattr(server._loop, "call_later", lambda seconds, _: rested.append(seconds))
    server._accept()
    assert rested == rests
    server._loop.close()
