"""PostgreSQL behind a connection that breaks: an error that says to try again, and the next attempt succeeds."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.engine import LedgerBusy
from tests.support.machines import database

pytestmark = pytest.mark.peer("postgres")


class Cable:
    """A TCP proxy in front of a server, that can be pulled: every connection ends with RST."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._server_port))
            self._open += [near, far]
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            return

    def pull(self) -> None:
        for each in self._open:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # A thread that reads would hold the descriptor; it is woken first.
            with suppress(OSError):  # already ended by the other side
                each.shutdown(socket.SHUT_RD)
            each.close()
        self._open.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.pull()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def cable(postgres: str) -> Iterator[Cable]:
    found = Cable(int(postgres.rpartition(":")[2]))
    yield found
    found.close()


@pytest.fixture
def far_ledger(postgres: str, cable: Cable, tmp_path: Path) -> Iterator[Ledger]:
    name = database(postgres, "behind_a_cable").rpartition("/")[2]
    url = f"postgresql+pg8000://axrad@127.0.0.1:{cable.port}/{name}"
    opened = open_ledger(Settings(ledger=LedgerSection(url=url), spool=Spool(path=tmp_path / "spool")))
    yield opened
    opened.close()


def ask(connection: sa.Connection) -> object:
    return connection.execute(sa.text("SELECT 1")).scalar_one()


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_connection_that_breaks_between_two_transactions_is_replaced_or_said_to_be_broken(
    far_ledger: Ledger, cable: Cable, way: str
) -> None:
    transaction: Callable[[], AbstractContextManager[sa.Connection]] = getattr(far_ledger, way)
    cable.pull()
    with suppress(LedgerBusy), transaction() as connection:  # as good: whoever asked tries again
        assert ask(connection) == 1
    with transaction() as connection:
        assert ask(connection) == 1


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_connection_that_breaks_inside_a_transaction_is_work_to_be_repeated(
    far_ledger: Ledger, cable: Cable, way: str
) -> None:
    transaction: Callable[[], AbstractContextManager[sa.Connection]] = getattr(far_ledger, way)
    with pytest.raises(LedgerBusy), transaction() as connection:  # noqa: PT012 - the end of the transaction is in it
        assert ask(connection) == 1
        cable.pull()
        ask(connection)
    with transaction() as connection:
        assert ask(connection) == 1
