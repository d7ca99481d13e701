"""The spool over the network: who may read it, what may be asked for, what is kept of it."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Message

from config.load import load
from config.schema import Settings
from config.schema import Spool as SpoolSettings
from daemon.serving.server import HttpServer
from daemon.share.client import ShareClient, ShareRefused
from daemon.share.exam_files import CacheFull, CopyDamaged, LocalFiles, RemoteFiles
from daemon.share.names import RESULT_FILES, is_result_file
from daemon.share.server import PIECE_BYTES, FileAnswer, sharing
from daemon.share.spool_files import files_of
from daemon.spool import Description, Spool, Stored
from pipeline.errors import PeerUnreachable
from tests.support.certificates import make_certificates
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

TOKEN = "a-token-that-nobody-guesses"
REVISION = "0123456789abcdef"
ANY_DIGEST = "0" * 64


@dataclass(frozen=True)
class Row:
    """What is read of a row of the ledger's instances."""

    sop_uid: str
    digest: str
    path: str
    spool: str = "main"


@dataclass
class House:
    """An intake host and one worker."""

    folder: Path
    server: HttpServer

    @property
    def spool(self) -> Spool:
        return Spool(self.folder / "spool")

    def receive(self, uid: str, pixels: bytes = b"\1\2" * 16) -> Row:
        sent = encoded(mr_image(uid, pixels=pixels))
        stored: Stored = self.spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCANNER"), sent)
        return Row(uid, stored.digest, stored.path)

    def client(self, token: str = TOKEN) -> ShareClient:
        return ShareClient(f"http://127.0.0.1:{self.server.server_port}", token, pauses_s=())

    def files(self, token: str = TOKEN, cache_bytes: int = 10**6, in_use_s: float = 3600) -> RemoteFiles:
        return RemoteFiles(self.client(token), self.folder / "copies", cache_bytes, in_use_s)

    def raw(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """A request as anyone could write it: nothing in the path is tidied up on the way."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {"Authorization": f"Bearer {TOKEN}", **headers}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def brought(files: RemoteFiles, row: Row) -> Path | None:
    """The instance's file; None where the intake host has none."""
    return files.place(row) if not files.bring([row]) else None


@contextmanager
def shared(folder: Path, **more: object) -> Iterator[House]:
    given = {"path": folder / "spool", "share_port": 0, "share_token": TOKEN, **more}
    with sharing(SpoolSettings.model_validate(given)) as server:
        assert server is not None
        yield House(folder, server)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with shared(tmp_path_factory.mktemp("house")) as made:
        yield made


# Reading and writing


def test_an_instance_comes_over_byte_for_byte(house: House) -> None:
    row = house.receive("1.2.3")
    path = brought(house.files(), row)
    assert path is not None
    assert path.read_bytes() == (house.spool.root / row.path).read_bytes()


def test_an_instance_is_copied_once(house: House) -> None:
    row = house.receive("1.2.4")
    files = house.files()
    first = brought(files, row)
    house.spool.remove(row.path)
    assert brought(files, row) == first


def test_two_data_sets_under_one_uid_are_told_apart(house: House) -> None:
    rows = [house.receive("1.2.5", pixels) for pixels in (b"\1\2" * 16, b"\3\4" * 16)]
    assert len({path.read_bytes() for row in rows if (path := brought(house.files(), row))}) == 2


def test_what_the_intake_host_does_not_have_is_none(house: House) -> None:
    assert brought(house.files(), Row("1.2.999", ANY_DIGEST, "")) is None
    assert house.files().get(REVISION, "sr.dcm") is None


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_result_reads_back_as_it_was_put_also_when_it_is_put_anew(house: House, where: str) -> None:
    files = LocalFiles(house.spool.root) if where == "here" else house.files()
    for data in (b"first", b"", b"second" * 100_000):
        files.put(REVISION, "result.json", data)
        path = files.get(REVISION, "result.json")
        assert path is not None
        assert (path.name, path.read_bytes()) == ("result.json", data)
        assert (house.spool.root / "results" / REVISION / "result.json").read_bytes() == data
    assert [p.name for p in (house.spool.root / "results" / REVISION).iterdir()] == ["result.json"]


# Who may


def test_a_wrong_token_is_told_nothing_and_changes_nothing(house: House) -> None:
    row = house.receive("1.2.6")
    for path in (f"/instances/{row.sop_uid}/{row.digest}", f"/instances/1.2.999/{ANY_DIGEST}", "/../../etc/passwd"):
        for token in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"):
            assert house.raw("GET", path, Authorization=token) == (401, b"")
    put = f"/results/{'f' * 16}/result.json"
    assert house.raw("PUT", put, b"x", Authorization="Bearer x", **{"Content-Length": "1"}) == (401, b"")
    assert not (house.spool.root / "results" / ("f" * 16)).exists()


def test_a_worker_with_a_wrong_token_is_told_which_setting_is_wrong(house: House) -> None:
    with pytest.raises(ShareRefused, match="share_token"):
        brought(house.files("another-token-that-is-wrong"), house.receive("1.2.7"))


# What may be asked for


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/instances",
        "/instances/1.2.3",
        f"/instances/../{ANY_DIGEST}",
        f"/instances/1..2/{ANY_DIGEST}",
        f"/instances/%2e%2e/{ANY_DIGEST}",
        "/instances/1.2.3/../../../../etc/passwd",
        f"/instances/1.2.3/{ANY_DIGEST}%0a",
        f"/instances/1.2.3/{ANY_DIGEST}/",
        f"/instances/1.2.3/{ANY_DIGEST}?x",
        "/results/../result.json",
        "/results/./result.json",
        f"/results/{REVISION}/../../journal/x",
        f"/results/{REVISION}/%2e%2e%2fledger",
        f"/results/{REVISION}/.result.json",
        f"/results/{REVISION}/ledger.sqlite",
        f"/results/{'a' * 33}/result.json",
        "/journal/x/y",
        "http://elsewhere/results/a/result.json",
    ],
)
def test_nothing_but_uids_digests_and_known_names_is_looked_for(house: House, path: str) -> None:
    assert house.raw("GET", path) == (400, b"")
    assert house.raw("PUT", path, b"x", **{"Content-Length": "1"}) == (400, b"")


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40) | st.sampled_from(sorted(RESULT_FILES)))
def test_a_name_that_is_taken_stays_in_its_folder(revision: str, name: str) -> None:
    if is_result_file(revision, name):
        assert os.path.normpath(f"/root/{revision}/{name}") == f"/root/{revision}/{name}"
        assert re.fullmatch(r"[0-9A-Za-z-]+", revision)


def test_instances_cannot_be_written(house: House) -> None:
    row = house.receive("1.2.8")
    assert house.raw("PUT", f"/instances/{row.sop_uid}/{row.digest}", b"x", **{"Content-Length": "1"})[0] == 400
    assert house.spool.verify(row.path)


@pytest.mark.parametrize(("length", "status"), [("-1", 400), ("x", 400), ("", 400), (str(10**12), 413)])
def test_a_length_that_cannot_be_is_refused_before_anything_is_read(house: House, length: str, status: int) -> None:
    assert house.raw("PUT", f"/results/{REVISION}/sr.dcm", None, **{"Content-Length": length}) == (status, b"")
    assert house.files().get(REVISION, "sr.dcm") is None


def test_a_file_that_breaks_off_is_not_kept(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.server.server_port)) as connection:
        head = (
            f"PUT /results/{REVISION}/page.pdf HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
        )
        connection.sendall(head.encode() + b"half")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert house.files().get(REVISION, "page.pdf") is None


def test_another_method_is_refused_without_a_word(house: House) -> None:
    assert house.raw("DELETE", f"/results/{REVISION}/result.json") == (501, b"")


def test_the_log_holds_no_uid_and_no_name(house: House) -> None:
    row = house.receive("1.2.840.77777")
    with structlog.testing.capture_logs() as lines:
        brought(house.files(), row)
        house.raw("GET", f"/instances/{row.sop_uid}/{row.digest}", Authorization="")
        house.raw("GET", f"/instances/{row.sop_uid}/Secret^Person")
    assert [line["event"] for line in lines] == ["share-refused", "share-refused"]
    assert "77777" not in str(lines)
    assert "Secret" not in str(lines)


# What can go wrong


def test_an_instance_whose_bytes_are_others_is_not_used(house: House) -> None:
    row = house.receive("1.2.9")
    file = house.spool.root / row.path
    whole = file.read_bytes()
    for damaged in (whole[:-1] + b"\0", whole[:-1], b"no DICOM"):
        file.chmod(0o600)
        file.write_bytes(damaged)
        with pytest.raises(CopyDamaged):
            brought(house.files(), row)
    file.write_bytes(whole)
    assert brought(house.files(), row) is not None


def test_an_intake_host_that_is_away_is_a_peer_that_cannot_be_reached(tmp_path: Path) -> None:
    with shared(tmp_path) as house:
        files, row = house.files(), house.receive("1.2.3")
    with pytest.raises(PeerUnreachable, match="intake host"):
        brought(files, row)
    with pytest.raises(PeerUnreachable):
        files.put(REVISION, "result.json", b"x")


def test_a_worker_waits_for_an_intake_host_that_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with shared(tmp_path) as house:
        row, port = house.receive("1.2.3"), house.server.server_port
    came_back: list[object] = []

    def restart(pause_s: float) -> None:
        came_back.append(pause_s)
        stack = shared(tmp_path, share_port=port)
        stack.__enter__()
        came_back.append(stack)

    monkeypatch.setattr("daemon.share.client.time.sleep", restart)
    client = ShareClient(f"http://127.0.0.1:{port}", TOKEN, pauses_s=(1.0, 2.0))
    try:
        assert brought(RemoteFiles(client, tmp_path / "copies", 10**6, 60), row) is not None
        assert came_back[0] == 1.0
    finally:
        client.close()
        came_back[1].__exit__(None, None, None)  # type: ignore[attr-defined]


class CutOff(Exception):
    """The other side is gone."""


@pytest.mark.parametrize("messages", [0, 1, 2])
def test_a_file_that_is_answered_with_is_closed_wherever_the_answer_is_cut(tmp_path: Path, messages: int) -> None:
    (tmp_path / "image.dcm").write_bytes(b"x" * 3 * PIECE_BYTES)
    file = (tmp_path / "image.dcm").open("rb")
    sent: list[str] = []

    async def send(message: Message) -> None:
        if len(sent) == messages:
            raise CutOff
        sent.append(message["type"])

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nothing is received")

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    with pytest.raises(CutOff):
        asyncio.run(FileAnswer(file, "application/dicom")(scope, receive, send))
    assert file.closed
    assert len(sent) == messages


# The bound of the copies


def used(path: Path | None, ago_s: float) -> Path:
    assert path is not None
    at = path.stat().st_mtime - ago_s
    os.utime(path, (at, at))
    return path


def test_copies_stay_within_their_bound_and_what_was_used_longest_ago_goes_first(house: House) -> None:
    rows = [house.receive(f"1.3.{n}", bytes([n]) * 10_000) for n in range(40)]
    size = (house.spool.root / rows[0].path).stat().st_size
    cache = house.folder / "copies-bound"
    files = RemoteFiles(house.client(), cache, 20 * size, in_use_s=60)
    paths = []
    for number, row in enumerate(rows):
        paths.append(used(brought(files, row), 10_000 - 100 * number))
        assert sum(p.stat().st_size for p in cache.rglob("*.dcm")) <= 20 * size
    kept = [path.exists() for path in paths]
    assert kept == sorted(kept)
    assert kept[-1]
    assert 15 <= sum(kept) <= 20
    assert brought(files, rows[0]) is not None


def test_copies_that_are_in_use_are_not_taken_away(house: House) -> None:
    rows = [house.receive(f"1.4.{n}", bytes([n]) * 10_000) for n in range(5)]
    size = (house.spool.root / rows[0].path).stat().st_size
    files = RemoteFiles(house.client(), house.folder / "copies-full", 3 * size, in_use_s=60)
    kept = [brought(files, row) for row in rows[:3]]
    with pytest.raises(CacheFull, match=r"spool\.cache_bytes"):
        brought(files, rows[3])
    assert all(path is not None and path.exists() for path in kept)


# TLS and settings


def test_over_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with shared(tmp_path, share_certificate=certificates.server, share_key=certificates.server_key) as house:
        row = house.receive("1.2.3")
        url = f"https://127.0.0.1:{house.server.server_port}"
        files = RemoteFiles(ShareClient(url, TOKEN, certificates.authority, ()), tmp_path / "copies", 10**6, 60)
        files.put(REVISION, "sr.dcm", b"report" * 100_000)
        assert brought(files, row) is not None
        stranger = RemoteFiles(ShareClient(url, TOKEN, certificates.stranger, ()), tmp_path / "others", 10**6, 60)
        with pytest.raises(PeerUnreachable):
            brought(stranger, row)
        with pytest.raises(PeerUnreachable):
            house.files().get(REVISION, "sr.dcm")


def test_a_spool_that_is_not_shared_listens_nowhere(tmp_path: Path) -> None:
    with sharing(SpoolSettings(path=tmp_path)) as server:
        assert server is None


def test_the_token_comes_from_the_environment_and_is_not_shown() -> None:
    loaded = load(environ={"AXRAD_SPOOL__SHARE_TOKEN": TOKEN, "AXRAD_SPOOL__REMOTE": "https://intake:11190"})
    assert loaded.spool.share_token == TOKEN
    assert TOKEN not in repr(loaded)


@pytest.mark.parametrize(
    "spool",
    [
        {"share_port": 11190},
        {"remote": "http://intake:11190"},
        {"share_port": 11190, "share_token": "short"},
        {"share_port": 11190, "share_token": "with a space in between"},
        {"remote": "intake:11190", "share_token": TOKEN},
        {"remote": "http://user@intake", "share_token": TOKEN},
        {"remote": "http://intake", "share_port": 11190, "share_token": TOKEN},
        {"share_certificate": "server.pem"},
    ],
)
def test_settings_that_would_share_without_a_token_or_not_work_are_refused(spool: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SpoolSettings.model_validate(spool)


def test_the_settings_say_where_files_are(tmp_path: Path) -> None:
    here = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    there = Settings.model_validate(
        {"spool": {"path": tmp_path / "spool", "remote": "http://intake", "share_token": TOKEN}}
    )
    assert isinstance(files_of(here).own, LocalFiles)
    assert isinstance(files_of(there).own, RemoteFiles)
