"""Attack: the pages of health and metrics, which ask for no password."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from config.schema import Settings
from daemon.ledger import Ledger, open_ledger
from daemon.observer import http_server
from daemon.observer.http_server import Pages, host_rule
from daemon.observer.traffic_probes import Health
from daemon.serving.limits import HttpLimits
from pipeline.errors import TryLater


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(Settings.model_validate({"spool": {"path": tmp_path / "spool"}}))
    yield opened
    opened.close()


@pytest.fixture
def pages(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    def nowhere() -> str:
        raise TryLater("no broker")

    monkeypatch.setattr(http_server, "LIMITS", HttpLimits(header_s=0.5, connections_per_address=32))
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    with Pages(("127.0.0.1", 0), [], Health(settings, ledger, nowhere)) as served:
        yield served


def say(pages: Pages, text: str) -> bytes:
    with socket.create_connection(("127.0.0.1", pages.server_port)) as connection:
        connection.sendall(text.encode("latin-1"))
        return until_the_end(connection)


def until_the_end(connection: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            got += piece
    return got


def get(path: str, host: str = "127.0.0.1", method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("words", ["", "GET / HTTP/1.1\r\nX: "])
def test_idle_connections_do_not_keep_a_probe_out(pages: Pages, words: str) -> None:
    with ExitStack() as stack:
        for _ in range(150):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", pages.server_port)))
            connection.sendall(words.encode())
        assert say(pages, get("/health/live")).startswith(b"HTTP/1.1 200 ")


def test_life_is_told_while_every_check_hangs_and_who_asks_too_often_is_told_to_come_back(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(http_server, "MAX_WAITING", 4)
    monkeypatch.setattr(pages.health, "checks", lambda: release.wait(None) and ())
    with ExitStack() as stack:
        stack.callback(release.set)
        asked = [
            stack.enter_context(socket.create_connection(("127.0.0.1", pages.server_port)))
            for _ in range(http_server.PAGES_AT_ONCE + 4 + 1)
        ]
        for connection in asked:
            connection.sendall(get("/health/ready").encode())
        (one,), _, _ = select.select(asked, [], [])
        refused = until_the_end(one)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 2" in refused.lower()
        assert say(pages, get("/health/live")).startswith(b"HTTP/1.1 200 ")
        release.set()
        asked.remove(one)
        assert {until_the_end(connection)[:13] for connection in asked} == {b"HTTP/1.1 200 "}


def test_a_name_that_leads_here_from_elsewhere_is_not_answered(pages: Pages) -> None:
    for host in ("evil.example.org", "evil.example.org:11180", "127.0.0.1.evil.example.org"):
        assert say(pages, get("/health/live", host)).startswith(b"HTTP/1.1 421 ")
    for host in ("127.0.0.1", "localhost:11180", "[::1]:11180"):
        assert say(pages, get("/health/live", host)).startswith(b"HTTP/1.1 200 ")
    assert host_rule("0.0.0.0") is None, "served to others, every name of this machine may lead here"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_pages_are_only_read(pages: Pages, method: str) -> None:
    assert say(pages, get("/health/live", method=method)).startswith(b"HTTP/1.1 405 ")
    assert say(pages, get("/nothing", method=method)).startswith(b"HTTP/1.1 404 ")


def test_a_probe_that_asks_for_the_head_alone_gets_it(pages: Pages) -> None:
    answer = say(pages, get("/health/live", method="HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
