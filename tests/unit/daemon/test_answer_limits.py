"""Archives and servers that answer without end, too slowly or with more than was asked, over real sockets."""

from __future__ import annotations

import gc
import gzip
import json
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from config.schema import Clinical, Settings
from daemon.clinical import fhir
from daemon.clinical.facts import Identity
from daemon.export.association import Address, AnswersBeyondLimits
from daemon.export.multipart import PartLimits, PartsBeyondLimits, boundary_of, first_part, parts
from daemon.fetch import dimse, plan, web
from daemon.fetch.instance_sink import InstanceSink, InstanceTooLarge, NoRoom, NotRequested
from daemon.fetch.plan import Batch, NotInArchive, TooMuch
from daemon.network.answer_limits import AnswerLimits, AnswerTooLarge, AnswerTooSlow
from daemon.network.redirects import CarefulSession, Redirected
from daemon.spool import JournalWriter, Spool
from daemon.spool.part10 import header
from pipeline.errors import PeerUnreachable
from tests.support.dimse import EXPLICIT_LE, encoded, mr_image

STUDY, SERIES = "1.2.1", "1.2.1.1"
Talk = Callable[[socket.socket, str], None]
LIMITS = PartLimits(max_parts=4, max_part_bytes=100_000)


@contextmanager
def server(talk: Talk) -> Iterator[str]:
    """An HTTP server that reads a request's head and lets `talk` write the answer, byte by byte if it wants."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := connection.recv(4096)):
                    return
                head += piece
            talk(connection, head.split(b" ")[1].decode())

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for one in threads:
            one.join()


def whole(body: bytes, *headers: str, status: str = "200 OK") -> Talk:
    def talk(connection: socket.socket, _path: str) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"])
        connection.sendall(head.encode() + b"\r\n\r\n" + body)

    return talk


def without_end(first: bytes, piece: bytes) -> Talk:
    def talk(connection: socket.socket, _path: str) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return talk


def trickle(first: bytes) -> Talk:
    """One byte now and then, until the client hangs up: no single wait is ever long."""

    def talk(connection: socket.socket, _path: str) -> None:
        connection.sendall(first)
        while not select.select([connection], [], [], 0.02)[0]:
            connection.sendall(b"1")

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
SMALL = AnswerLimits(max_bytes=100_000, max_wait_s=300.0)
SLOW = AnswerLimits(max_wait_s=0.2, min_bytes_per_s=1000.0)


def session_of(limits: AnswerLimits) -> CarefulSession:
    return CarefulSession("archive", "url", limits=limits)


@pytest.mark.parametrize(
    "talk",
    [
        whole(gzip.compress(b"[" + b" " * 50_000_000 + b"]"), "Content-Encoding: gzip"),
        whole(b"[" + b" " * 200_000 + b"]"),
        without_end(OK + b"\r\n", b" " * 65536),
        without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
    ],
    ids=["gzip bomb", "long", "without end", "chunks without end"],
)
def test_an_answer_of_more_bytes_than_allowed_is_given_up(talk: Talk) -> None:
    says = "archive sends an answer of more than 100000 bytes"
    with server(talk) as url, session_of(SMALL) as session, pytest.raises(AnswerTooLarge, match=says):
        session.get(url)


def test_the_connection_of_an_answer_that_was_given_up_is_closed_at_once() -> None:
    gc.disable()
    try:
        with server(without_end(OK + b"\r\n", b" " * 65536)) as url, session_of(SMALL) as session:
            with pytest.raises(AnswerTooLarge) as caught:
                session.get(url)
            # The server only ends when its connection does, and the exception still holds the answer.
            assert caught.traceback
    finally:
        gc.enable()


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX: ", OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_answer_that_trickles_is_given_up(first: bytes) -> None:
    with server(trickle(first)) as url, session_of(SLOW) as session, pytest.raises(AnswerTooSlow, match="too slowly"):
        session.get(url)


def test_an_answer_that_comes_fast_and_without_end_has_a_time_as_well() -> None:
    limits = AnswerLimits(max_bytes=1 << 40, max_wait_s=0.2, max_total_s=0.3)
    talk = without_end(OK + b"\r\n", b" " * 65536)
    with server(talk) as url, session_of(limits) as session, pytest.raises(AnswerTooSlow, match="too slowly"):
        deque(session.get(url, stream=True).iter_content(65536), maxlen=0)


def test_a_body_that_ends_because_it_was_given_up_is_no_complete_answer() -> None:
    with server(trickle(OK + b"\r\n[1")) as url, session_of(SLOW) as session:
        response = session.get(url, stream=True)
        with pytest.raises(AnswerTooSlow):
            list(response.iter_content(1))


def test_an_answer_within_limits_is_read_inflated_and_the_connection_serves_on() -> None:
    talk = whole(gzip.compress(b"[1]"), "Content-Encoding: gzip")
    with server(talk) as url, session_of(SMALL) as session:
        assert [session.get(url).json() for _ in range(3)] == [[1]] * 3


def test_a_redirect_to_another_origin_is_not_followed() -> None:
    with server(whole(b"[1]")) as other:
        talk = whole(b"", f"Location: {other}/", status="302 Found")
        with server(talk) as url, session_of(SMALL) as session, pytest.raises(Redirected):
            session.get(url)


def test_the_body_of_a_redirect_is_limited_too() -> None:
    talk = without_end(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b" " * 65536)
    with server(talk) as url, session_of(SMALL) as session, pytest.raises(AnswerTooLarge):
        session.get(url)


# Multipart


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=a-b', b"a-b"),
        ('multipart/related; boundary="a b;c"; type="application/dicom"', b"a b;c"),
        ("multipart/related; BOUNDARY=x", b"x"),
        ("application/dicom+json", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_quoted_or_not(kind: str, boundary: bytes | None) -> None:
    assert boundary_of(kind) == boundary


def bodies(message: bytes, limits: PartLimits = LIMITS) -> list[bytes]:
    return [part.read() for part in parts(iter([message]), b"b", limits)]


def test_preamble_and_epilogue_have_no_meaning() -> None:
    message = (
        b"preamble\r\n--b\r\nContent-Type: x\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n--b\r\n\r\nthree"
    )
    assert bodies(message) == [b"one", b"two"]


def test_the_first_part_of_an_answer_is_read_and_one_cut_short_is_none() -> None:
    message = b"--b\r\nContent-Type: x\r\n\r\none\r\n--b--"
    assert first_part(message, b"b") == b"one"
    assert first_part(message[:-8], b"b") is None
    assert first_part(b"<html>", b"b") is None


@pytest.mark.parametrize(
    ("message", "limits"),
    [
        (b"--b\r\n\r\n" + b"x\r\n--b\r\n\r\n" * 5, LIMITS),
        (b"--b\r\n\r\n" + b"x" * 101, PartLimits(max_part_bytes=100)),
    ],
)
def test_more_or_larger_parts_than_allowed_are_given_up(message: bytes, limits: PartLimits) -> None:
    with pytest.raises(PartsBeyondLimits):
        bodies(message, limits)


@pytest.mark.parametrize(
    "head", [b"X: " + b"y" * 100_000, b"X: y\r\n" * 10_000, b"z" * 100_000], ids=["value", "count", "name"]
)
def test_headers_of_a_part_are_limited(head: bytes) -> None:
    with pytest.raises(PeerUnreachable, match="no multipart message"):
        bodies(b"--b\r\n" + head + b"\r\n\r\nbody\r\n--b--")


# WADO-RS and QIDO-RS


@pytest.fixture
def sink_of(tmp_path: Path) -> Iterator[Callable[..., InstanceSink]]:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "PACS", "127.0.0.1")

    def make(*batches: Batch, **settings: Any) -> InstanceSink:
        table = {"listen": {"max_instance_bytes": 100_000}, "spool": {"path": spool.root}} | settings
        return InstanceSink(spool, journal, Settings.model_validate(table), "PACS", batches)

    yield make
    journal.close("released")


def address(url: str = "", port: int = 1, timeout_s: float = 20.0) -> Address:
    return Address("archive", "PACS", "127.0.0.1", port, "AXRAD", dicomweb_url=url, answer_timeout_s=timeout_s)


def file_of(uid: str) -> bytes:
    return header(str(MRImageStorage), uid, EXPLICIT_LE, "PACS") + encoded(mr_image(uid))


def related(*files: bytes) -> Talk:
    body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + f + b"\r\n" for f in files) + b"--b--"
    return whole(body, "Content-Type: multipart/related; boundary=b")


def stored_uids(tmp_path: Path) -> int:
    return len(list(Spool(tmp_path / "spool").walk()))


def test_wado_keeps_the_instance_that_was_requested_and_no_other(sink_of: Any, tmp_path: Path) -> None:
    batch = Batch(STUDY, SERIES, ("1.2.3",))
    with server(related(file_of("1.2.9"), file_of("1.2.3"), file_of("1.2.8"))) as url:
        assert web.retrieve(address(url), [batch], sink_of(batch).store_file, 10, LIMITS) == 1
    assert len(Spool(tmp_path / "spool").find("1.2.3")) == stored_uids(tmp_path) == 1


@pytest.mark.parametrize(
    "talk",
    [
        related(b"x" * 200_000),
        related(*[b"x"] * 9),
        without_end(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n\r\n", b"y" * 65536),
        related(file_of("1.2.9")),
        related(b"no DICOM"),
    ],
    ids=["too large", "too many parts", "without end", "another", "no DICOM"],
)
def test_an_instance_beyond_limits_or_not_requested_is_passed_over(talk: Talk, sink_of: Any, tmp_path: Path) -> None:
    batch = Batch(STUDY, SERIES, ("1.2.3",))
    with server(talk) as url, pytest.raises(NotInArchive):
        web.retrieve(address(url), [batch], sink_of(batch).store_file, 10, LIMITS)
    assert stored_uids(tmp_path) == 0
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


def test_an_archive_that_lists_without_end_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_LISTED", 50)
    count = iter(range(10**6))

    def talk(connection: socket.socket, path: str) -> None:
        listed = ",".join(f'{{"00080018": {{"Value": ["1.{next(count)}"]}}}}' for _ in range(20))
        whole(f"[{listed}]".encode(), "Content-Type: application/dicom+json")(connection, path)

    with server(talk) as url, pytest.raises(AnswerTooLarge, match="lists more than 50"):
        web.WebDirectory(address(url)).instances_of(STUDY, SERIES)
    assert next(count) < 100


def test_pages_that_are_few_and_large_are_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_LIST_BYTES", 1_000_000)
    count = iter(range(10**6))

    def talk(connection: socket.socket, path: str) -> None:
        listed = f'[{{"00080018": {{"Value": ["1.{next(count)}"]}}, "0040A160": {{"Value": ["{"x" * 300_000}"]}}}}]'
        whole(listed.encode(), "Content-Type: application/dicom+json")(connection, path)

    with server(talk) as url, pytest.raises(AnswerTooLarge, match="one search with more than 1000000"):
        web.WebDirectory(address(url)).instances_of(STUDY, SERIES)
    assert next(count) < 10


def test_an_archive_that_takes_its_time_for_every_page_is_not_listed_to_the_end() -> None:
    count = iter(range(10**6))

    def talk(connection: socket.socket, path: str) -> None:
        listed = f'[{{"00080018": {{"Value": ["1.{next(count)}"]}}}}]'
        whole(listed.encode(), "Content-Type: application/dicom+json")(connection, path)

    with server(talk) as url, pytest.raises(AnswerTooSlow):
        web.WebDirectory(address(url, timeout_s=0.5)).instances_of(STUDY, SERIES)


def test_an_answer_of_an_archive_or_fhir_server_that_is_nested_without_end_is_given_up() -> None:
    deep = whole(b"[" * 30_000, "Content-Type: application/dicom+json")
    with server(deep) as url:
        with pytest.raises(PeerUnreachable, match="no DICOM JSON"):
            web.WebDirectory(address(url)).instances_of(STUDY, SERIES)
        with pytest.raises(PeerUnreachable, match="no FHIR R4 Bundle"):
            fhir.read(Identity("12345", exam_date=date(2024, 1, 1)), Clinical(fhir_url=url))


def test_a_fhir_server_whose_pages_have_no_end_is_given_up() -> None:
    who = Identity("12345", exam_date=date(2024, 1, 1))
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "12345"}]}

    def talk(connection: socket.socket, path: str) -> None:
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient}]}
        if "/Observation" in path:
            link = [{"relation": "next", "url": f"{url}/Observation?page=1"}]
            bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [], "link": link}
        whole(json.dumps(bundle).encode(), "Content-Type: application/fhir+json")(connection, path)

    with server(talk) as url, pytest.raises(PeerUnreachable, match="no end"):
        fhir.read(who, Clinical(fhir_url=url))


def test_nothing_is_taken_in_below_the_watermark(sink_of: Any, tmp_path: Path) -> None:
    batch = Batch(STUDY, SERIES, ("1.2.3",))
    full = {"path": tmp_path / "spool", "warn_free_bytes": 2**61, "refuse_free_bytes": 2**60}
    with server(related(file_of("1.2.3"))) as url, pytest.raises(NoRoom):
        web.retrieve(address(url), [batch], sink_of(batch, spool=full).store_file, 10, LIMITS)
    assert stored_uids(tmp_path) == 0


# C-GET and C-FIND


@contextmanager
def scp(*handlers: Any) -> Iterator[int]:
    ae = AE(ae_title="PACS")
    ae.supported_contexts = [
        build_context(StudyRootQueryRetrieveInformationModelGet),
        build_context(StudyRootQueryRetrieveInformationModelFind),
        build_context(MRImageStorage),
    ]
    for context in ae.supported_contexts:
        context.scu_role = context.scp_role = True
    running = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        yield running.server_address[1]
    finally:
        running.shutdown()


def sends(*images: Any) -> Any:
    def on_get(event: Any) -> Iterator[Any]:
        yield len(images)
        for image in images:
            yield 0xFF00, image

    return evt.EVT_C_GET, on_get


def get(port: int, sink: InstanceSink, batch: Batch) -> int:
    limit = sink.max_instance_bytes
    return dimse.get(address(port=port), [batch], sink.store_data_set, max_instance_bytes=limit)


def image(uid: str, study: str = STUDY, series: str = SERIES) -> Any:
    made = mr_image(uid)
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT_LE
    return made


def test_c_get_keeps_what_was_requested_by_instance_or_by_series(sink_of: Any, tmp_path: Path) -> None:
    sent = sends(image("1.2.3"), image("1.2.4"), image("1.2.5", series="1.7"), image("1.2.6", study="1.8"))
    with scp(sent) as port:
        by_uid = Batch(STUDY, SERIES, ("1.2.3",))
        assert get(port, sink_of(by_uid), by_uid) == 1
        assert stored_uids(tmp_path) == 1
        by_series = Batch(STUDY, SERIES)
        assert get(port, sink_of(by_series), by_series) == 2
    spool = Spool(tmp_path / "spool")
    assert [bool(spool.find(uid)) for uid in ("1.2.3", "1.2.4", "1.2.5", "1.2.6")] == [True, True, False, False]


def test_c_get_of_an_instance_that_is_too_large_ends_while_it_comes(
    sink_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dimse, "MAX_OVERHEAD_BYTES", 10_000)
    large = image("1.2.3")
    large.add_new(0x00420011, "OB", b"x" * 3_000_000)
    batch = Batch(STUDY, SERIES, ("1.2.3",))
    with scp(sends(large)) as port, pytest.raises(InstanceTooLarge):
        get(port, sink_of(batch), batch)
    assert stored_uids(tmp_path) == 0


def test_c_get_of_more_instances_than_allowed_ends(sink_of: Any, tmp_path: Path) -> None:
    batch = Batch(STUDY, SERIES)
    images = [image(f"1.2.3.{n}") for n in range(8)]
    with scp(sends(*images)) as port, pytest.raises(TooMuch, match="more than 3 images"):
        get(port, sink_of(batch, fetch={"max_instances": 3}), batch)
    assert stored_uids(tmp_path) == 3


def test_a_full_disk_ends_a_c_get(sink_of: Any, tmp_path: Path) -> None:
    batch = Batch(STUDY, SERIES, ("1.2.3",))
    full = {"path": tmp_path / "spool", "warn_free_bytes": 2**61, "refuse_free_bytes": 2**60}
    with scp(sends(image("1.2.3"))) as port, pytest.raises(NoRoom):
        get(port, sink_of(batch, spool=full), batch)


def test_a_c_find_with_more_matches_than_allowed_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse, "MAX_LISTED", 20)

    def on_find(event: Any) -> Iterator[Any]:
        n = 0
        while not event.is_cancelled:
            n += 1
            match = event.identifier
            match.SOPInstanceUID = f"1.{n}"
            yield 0xFF00, match

    with scp((evt.EVT_C_FIND, on_find)) as port, pytest.raises(AnswersBeyondLimits):
        dimse.DimseDirectory(address(port=port)).instances_of(STUDY, SERIES)


def test_a_data_set_that_hides_its_study_is_not_requested(sink_of: Any) -> None:
    batch = Batch(STUDY)
    sink = sink_of(batch)
    with pytest.raises(NotRequested):
        sink.store_data_set(str(MRImageStorage), "1.2.3", "1.2.840.10008.1.2.1", b"\xff" * 100)
    bare = image("1.2.3")
    del bare.StudyInstanceUID
    with pytest.raises(NotRequested):
        sink.store_data_set(str(MRImageStorage), "1.2.3", "1.2.840.10008.1.2.1", encoded(bare))


def test_the_limits_stand_above_what_exams_have() -> None:
    assert Settings().fetch.max_instances <= plan.MAX_LISTED
