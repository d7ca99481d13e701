"""Attack: the endpoint that shares the spool with workers, by whoever reaches its port. All of it over real sockets."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from config.schema import Settings
from config.schema import Spool as SpoolSettings
from daemon import audit
from daemon.serving.limits import HttpLimits
from daemon.serving.server import HttpServer
from daemon.share.client import ShareClient, ShareRefused
from daemon.share.exam_files import RemoteFiles
from daemon.share.server import share_limits, sharing
from daemon.share.spool_files import files_of
from daemon.share.tries import TRIES
from pipeline.errors import PeerUnreachable
from tests.support.certificates import Certificates, make_certificates
from tests.support.waiting import wait_for

TOKEN, READER, WRITER = "a-token-that-nobody-guesses", "a-token-that-only-reads", "a-token-that-only-writes"
PLACE = f"/results/{'f' * 16}/result.json"
# Patience that a test can outlast; in each test one of them is what matters.
SHORT = HttpLimits(header_s=0.5, idle_s=30.0, grace_s=0.5, least_bytes_per_s=1 << 20)


@dataclass
class House:
    root: Path
    server: HttpServer
    told: list[tuple[str, str]] = field(default_factory=list)

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.server.server_port))

    def say(self, text: str | bytes) -> bytes:
        """Everything that comes until the other side ends, for what is written on a connection of its own."""
        with self.connect() as connection:
            with suppress(ConnectionError):
                connection.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
            return until_the_end(connection)

    def request(
        self, method: str, path: str, body: bytes | None = None, token: str = TOKEN, **headers: str
    ) -> tuple[int, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}", **headers})
            answer = connection.getresponse()
            assert answer.read() == b"" or answer.status == 200
            return answer.status, answer.headers
        finally:
            connection.close()

    def worker_works(self) -> None:
        files = RemoteFiles(ShareClient(f"http://127.0.0.1:{self.server.server_port}", TOKEN), self.root, 10**6, 60)
        files.put("f" * 16, "result.json", b"{}")
        path = files.get("f" * 16, "result.json")
        assert path is not None
        assert path.read_bytes() == b"{}"

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.root / "spool").rglob("*") if path.is_file())


def until_the_end(connection: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            got += piece
    return got


@contextmanager
def shared(folder: Path, limits: HttpLimits | None = None, **more: Any) -> Iterator[House]:
    given = {"path": folder / "spool", "share_port": 0, "share_token": TOKEN, **more}
    told: list[tuple[str, str]] = []
    spool = SpoolSettings.model_validate(given)
    with sharing(spool, lambda address, reason: told.append((address, reason)), limits) as server:
        assert server is not None
        yield House(folder, server, told)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with shared(tmp_path) as made:
        yield made


def head(method: str, path: str, *lines: str, token: str = TOKEN, host: str | None = "intake") -> str:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *hosts, f"Authorization: Bearer {token}", *lines]) + "\r\n\r\n"


# Slowness


def trickled(connection: socket.socket, first: bytes, most: int = 100_000) -> bytes:
    """Send byte after byte, with a pause before each, until the other side ends it; its last words."""
    connection.sendall(first)
    for _ in range(most):
        if select.select([connection], [], [], 0.02)[0]:
            return until_the_end(connection)
        with suppress(ConnectionError):
            connection.sendall(b"x")
    raise AssertionError("the other side waits for ever")


@pytest.mark.parametrize("first", ["", "GET / HTTP/1.1\r\nX: ", head("GET", PLACE)[:-2] + "X: "])
def test_a_header_that_trickles_has_a_deadline_for_all_of_it(tmp_path: Path, first: str) -> None:
    with shared(tmp_path, SHORT) as house, house.connect() as connection:
        assert trickled(connection, first.encode())[:13] in (b"", b"HTTP/1.1 408 ")
        house.worker_works()


def test_a_body_that_trickles_is_given_up_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    with shared(tmp_path, SHORT) as house:
        with house.connect() as connection:
            trickled(connection, head("PUT", PLACE, "Content-Length: 1000000").encode())
        wait_for(lambda: house.kept == [], "what was begun to be removed")
        house.worker_works()


def test_a_body_in_the_middle_of_which_nothing_more_comes_is_given_up(tmp_path: Path) -> None:
    with shared(tmp_path, SHORT) as house:
        with house.connect() as connection:
            connection.sendall(head("PUT", PLACE, "Content-Length: 9").encode() + b"half")
            assert b" 2" not in until_the_end(connection)[:12]
        wait_for(lambda: house.kept == [], "what was begun to be removed")


def test_an_answer_that_nobody_reads_is_given_up(tmp_path: Path) -> None:
    with shared(tmp_path, SHORT) as house:
        large = tmp_path / "spool" / "results" / ("f" * 16) / "page.pdf"
        large.parent.mkdir(parents=True)
        large.write_bytes(b"x" * 64_000_000)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection:
            connection.connect(("127.0.0.1", house.server.server_port))
            connection.sendall(head("GET", PLACE.replace("result.json", "page.pdf")).encode())
            wait_for(lambda: len(house.server._connections) == 0, "the connection to be given up")
            assert len(until_the_end(connection)) < 64_000_000


def test_a_connection_at_rest_is_closed(tmp_path: Path) -> None:
    with shared(tmp_path, HttpLimits(idle_s=0.2)) as house, house.connect() as connection:
        connection.sendall(head("GET", PLACE).encode())
        assert until_the_end(connection).startswith(b"HTTP/1.1 404 ")


def test_deadlines_and_limits_are_there_by_default() -> None:
    limits = share_limits(SpoolSettings(share_port=1, share_token=TOKEN))
    assert (limits.header_s, limits.idle_s, limits.grace_s) == (10.0, 10.0, 30.0)
    assert (limits.connections, limits.connections_per_address) == (256, 64)


# Floods


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nX: y\r\n"], ids=["silent", "half a header"])
def test_idle_connections_do_not_lock_out_a_worker(house: House, words: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(house.connect())
            connection.sendall(words)
        house.worker_works()
        assert len(house.server._connections) <= 64


def test_idle_connections_from_many_addresses_do_not_lock_out_a_worker(tmp_path: Path) -> None:
    with shared(tmp_path, share_connections=20, share_connections_per_address=10) as house, ExitStack() as stack:
        for number in range(60):
            connection = socket.socket()
            connection.bind((f"127.0.0.{2 + number % 20}", 0))
            connection.connect(("127.0.0.1", house.server.server_port))
            stack.enter_context(connection)
        house.worker_works()


def test_who_comes_too_late_for_a_place_is_told_when_to_come_back(tmp_path: Path) -> None:
    """Those that are there are in the middle of requests, with a right token, and keep their places."""
    with shared(tmp_path, share_connections=1) as house, house.connect() as there:
        there.sendall(head("PUT", PLACE, "Content-Length: 4", "Expect: 100-continue").encode())
        assert there.recv(100).startswith(b"HTTP/1.1 100 ")
        refused = house.say("")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refused
        there.sendall(b"done")
        assert there.recv(100).startswith(b"HTTP/1.1 204 ")


def test_requests_that_are_sent_together_are_answered_in_turn_and_none_after_a_refusal(house: House) -> None:
    get = head("GET", PLACE)
    assert house.say(get + get + head("GET", PLACE, "Connection: close")).count(b"HTTP/1.1 404 ") == 3
    refused = house.say(head("GET", PLACE, token="x" * 16) + head("PUT", PLACE, "Content-Length: 2") + "{}")
    assert refused.count(b"HTTP/1.1 ") == 1
    assert house.kept == []


# Shapes that two readers take differently


SMUGGLING = {
    "length and chunks": ("PUT", ["Content-Length: 4", "Transfer-Encoding: chunked"]),
    "chunks and length": ("PUT", ["Transfer-Encoding: chunked", "Content-Length: 4"]),
    "two lengths": ("PUT", ["Content-Length: 4", "Content-Length: 5"]),
    "list of lengths": ("PUT", ["Content-Length: 4, 5"]),
    "signed length": ("PUT", ["Content-Length: +4"]),
    "coding twice": ("PUT", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
    "coding unknown": ("PUT", ["Transfer-Encoding: xchunked"]),
    "coding before another": ("PUT", ["Transfer-Encoding: chunked, identity"]),
    "blank before the colon": ("PUT", ["Transfer-Encoding : chunked", "Content-Length: 4"]),
    "body of a GET": ("GET", ["Content-Length: 4"]),
    "chunked body of a GET": ("GET", ["Transfer-Encoding: chunked"]),
    "both in a GET": ("GET", ["Content-Length: 4", "Transfer-Encoding: chunked"]),
    "zero byte": ("GET", ["X: a\0b"]),
}


@pytest.mark.parametrize(("method", "lines"), SMUGGLING.values(), ids=SMUGGLING)
def test_an_ambiguous_request_is_refused_and_what_follows_it_is_not_read(
    house: House, method: str, lines: list[str]
) -> None:
    hidden = head("PUT", PLACE, "Content-Length: 2") + "{}"
    answer = house.say(head(method, PLACE, *lines) + "0\r\n\r\n" + hidden)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 411 ", b"HTTP/1.1 501 ")), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert house.kept == []


@pytest.mark.parametrize(
    "line",
    ["GET http://intake/x HTTP/1.1", f"GET http://elsewhere{PLACE} HTTP/1.1", "CONNECT elsewhere:443 HTTP/1.1",
     "OPTIONS * HTTP/1.1", "GET x HTTP/1.1", "GET  / HTTP/1.1", "GET / HTTP/9.9", "\x16\x03\x01\x02\x00\x01\x00", "\n"],
)  # fmt: skip
def test_a_target_that_is_no_path_and_what_is_no_http_are_refused(house: House, line: str) -> None:
    answer = house.say(f"{line}\r\nHost: intake\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("host", [None, "", "a b", "a/b", "user@intake", "a,b", "http://intake"])
def test_a_host_that_can_be_none_is_refused(house: House, host: str | None) -> None:
    assert house.say(head("GET", PLACE, host=host)).startswith(b"HTTP/1.1 400 ")
    assert house.say(head("GET", PLACE, "Host: another")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "POST", "TRACE", "PATCH", "X"])
def test_another_method_is_refused_with_a_token_and_without(house: House, method: str) -> None:
    assert house.say(head(method, PLACE)).startswith(b"HTTP/1.1 501 ")
    assert house.say(head(method, PLACE, token="x" * 16)).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("lines", [["X: " + "y" * 40_000], ["X: y"] * 6_000, [f"X{'y' * 40_000}: z"]])
def test_headers_are_limited(house: House, lines: list[str]) -> None:
    assert house.say(head("GET", PLACE, *lines))[:13] in (b"HTTP/1.1 431 ", b"")
    house.worker_works()


def test_a_header_without_end_is_not_read_to_the_end(house: House) -> None:
    with house.connect() as connection:
        sent = 0
        with suppress(ConnectionError):
            connection.sendall(head("GET", PLACE)[:-2].encode())
            while sent < 1 << 30:
                connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")
                sent += 1000
        assert sent < 1 << 28
    house.worker_works()


def test_a_chunked_body_without_end_is_refused_before_it_is_read(house: House) -> None:
    with house.connect() as connection:
        connection.sendall(head("PUT", PLACE, "Transfer-Encoding: chunked").encode())
        assert until_the_end(connection).startswith(b"HTTP/1.1 411 ")
    assert house.kept == []


@pytest.mark.parametrize(
    "hello", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 100, b"\x16\x03", b""]
)
def test_a_broken_tls_hello_is_audited_and_hurts_nobody(tmp_path: Path, hello: bytes) -> None:
    made = make_certificates(tmp_path)
    with shared(tmp_path, SHORT, share_certificate=made.server, share_key=made.server_key) as house:
        with house.connect() as connection:
            connection.sendall(hello)
            until_the_end(connection)
        wait_for(lambda: len(house.told) == 1, "the handshake to be told")
        assert house.told[0][1].startswith("tls-handshake: ")
        wait_for(lambda: len(house.server._connections) == 0, "its place to be free")
        assert over_tls(house, made, None).get("f" * 16, "sr.dcm") is None


# Who may what


def test_wrong_tokens_are_limited_by_address_and_a_right_one_still_opens(house: House) -> None:
    answers = [house.request("GET", PLACE, token=f"guess-number-{n:08}") for n in range(TRIES + 10)]
    assert [status for status, _ in answers[:TRIES]] == [401] * TRIES
    assert (status := answers[-1])[0] == 429
    assert int(status[1]["Retry-After"]) >= 1
    wait_for(lambda: house.told == [("127.0.0.1", "wrong-token")] * (TRIES + 10), "each to be told")
    house.worker_works()
    with pytest.raises(ShareRefused, match="share_token"):
        ShareClient(f"http://127.0.0.1:{house.server.server_port}", "wrong" * 4, pauses_s=()).put(PLACE, b"x")


def token_files(folder: Path) -> dict[str, Path]:
    files = {"share_read_token_file": READER, "share_write_token_file": WRITER}
    for name, token in files.items():
        (folder / name).write_text(f"# for workers\n{token}\n")
    return {name: folder / name for name in files}


def test_a_token_opens_what_it_is_for_and_nothing_else(tmp_path: Path) -> None:
    with shared(tmp_path, share_token=None, **token_files(tmp_path)) as house:
        assert house.request("PUT", PLACE, b"{}", READER)[0] == 403
        assert house.kept == []
        assert house.request("PUT", PLACE, b"{}", WRITER)[0] == 204
        assert house.request("GET", PLACE, token=WRITER)[0] == 403
        assert house.request("GET", PLACE, token=READER)[0] == 200
        assert house.request("GET", PLACE)[0] == 401
        wait_for(lambda: len(house.told) == 3, "refusals to be told")
        assert {reason for _, reason in house.told} == {"token-lacks-scope", "wrong-token"}


def test_a_worker_shows_each_token_where_it_is_for_and_takes_a_new_one_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.share.tokens.LOOK_EVERY_S", 0.0)
    files = token_files(tmp_path)
    with shared(tmp_path, share_token=None, **files) as house:
        remote = {"remote": f"http://127.0.0.1:{house.server.server_port}", "path": tmp_path / "worker", **files}
        worker = files_of(Settings.model_validate({"spool": remote}))
        worker.put("f" * 16, "sr.dcm", b"one")
        for path in files.values():
            path.write_text(f"another-token-of-{path.name}\n{path.read_text()}")
        worker.put("f" * 16, "sr.dcm", b"two")
        assert house.request("GET", PLACE, token=READER)[0] == 404, "the token before is still taken"
        files["share_read_token_file"].write_text("short\n")
        path = worker.get("f" * 16, "sr.dcm")
        assert path is not None
        assert path.read_bytes() == b"two"


def test_an_address_outside_the_networks_gets_no_answer(tmp_path: Path) -> None:
    with shared(tmp_path, share_networks=["127.0.0.8/29"]) as house:
        assert house.say(head("GET", PLACE)) == b""
        wait_for(lambda: house.told == [("127.0.0.1", "address-not-listed")], "the refusal to be told")
        with socket.socket() as listed:
            listed.bind(("127.0.0.9", 0))
            listed.connect(("127.0.0.1", house.server.server_port))
            listed.sendall(head("GET", PLACE, "Connection: close").encode())
            assert until_the_end(listed).startswith(b"HTTP/1.1 404 ")


def over_tls(house: House, made: Certificates, ours: tuple[Path, Path] | None) -> RemoteFiles:
    url = f"https://127.0.0.1:{house.server.server_port}"
    return RemoteFiles(ShareClient(url, TOKEN, made.authority, (), ours), house.root / "copies", 10**6, 60)


def test_only_workers_with_a_listed_certificate_are_served(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    tls = {"share_certificate": made.server, "share_key": made.server_key, "share_client_ca": made.authority}
    with shared(tmp_path, **tls, share_certificates=["localhost"]) as house:
        over_tls(house, made, (made.client, made.client_key)).put("f" * 16, "sr.dcm", b"x" * 3_000_000)
        for ours in (None, (made.stranger, made.stranger_key)):
            with pytest.raises(PeerUnreachable):
                over_tls(house, made, ours).get("f" * 16, "sr.dcm")
        wait_for(lambda: len(house.told) == 2, "both to be told")
        assert all(reason.startswith("tls-handshake: ") for _, reason in house.told)
    with shared(tmp_path, **tls, share_certificates=["other.example.org"]) as house:
        with pytest.raises(ShareRefused, match="share_certificates"):
            over_tls(house, made, (made.client, made.client_key)).get("f" * 16, "sr.dcm")
        wait_for(lambda: house.told == [("127.0.0.1", "not-its-certificate")], "the refusal to be told")


def test_weak_tls_is_not_spoken(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    with shared(tmp_path, share_certificate=made.server, share_key=made.server_key) as house:
        context = ssl.create_default_context(cafile=str(made.authority))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")
        with house.connect() as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


# What is kept


def test_an_upload_is_not_held_in_memory_and_is_kept_only_with_the_digest_that_it_announced(house: House) -> None:
    body = b"x" * 1_000_000
    right = "sha-256=:" + "aYBZkDEGCS0g/v0fPdfhnMj5DPd4sZXaK6xAC/hyI4Q" + "=:"
    assert house.request("PUT", PLACE, body, **{"Content-Digest": right})[0] == 400
    assert house.request("PUT", PLACE, body, **{"Content-Digest": "sha-256=:x:"})[0] == 400
    assert house.kept == []
    assert house.request("PUT", PLACE, body)[0] == 204, "a worker of an older axrad announces none"
    house.worker_works()
    assert house.kept == ["result.json"]


def test_a_refusal_stands_in_the_audit_trail_without_token_and_path(tmp_path: Path) -> None:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    spool = SpoolSettings(path=tmp_path / "spool", share_port=0, share_token=TOKEN)
    with sharing(spool, lambda address, reason: audit.refused_share(settings, address, reason)) as server:
        assert server is not None
        House(tmp_path, server).request("GET", PLACE, token="wrong-and-secret")
    (line,) = audit.trail_path(settings).read_text().splitlines()
    assert json.loads(line)["EventIdentification"]["EventOutcomeDescription"] == "wrong-token"
    assert "secret" not in line
    assert "result.json" not in line
