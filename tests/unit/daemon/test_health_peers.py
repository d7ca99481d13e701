"""`axrad doctor` asks a destination for what is used of it; nothing that it answers crashes the doctor."""

from __future__ import annotations

import gc
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from structlog.testing import capture_logs

from config.schema import Settings
from daemon.finding import Finding
from daemon.health.peers import ask_destination, contexts_of
from daemon.listener import receive_loop
from daemon.listener.socket_reader import PollWakeup
from daemon.logs import Recurring
from dicom_sr.sop_classes import SEGMENTATION
from tests.support.archives import BASIC_TEXT_SR, archive

SR = "1.2.840.10008.5.1.4.1.1.88.33"
PAGE = "1.2.840.10008.5.1.4.1.1.7"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
COMMIT = "1.2.840.10008.1.20.1"


def asked(tmp_path: Path, archive: dict[str, Any], **destination: Any) -> dict[str, Finding]:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1} | archive
    settings = Settings.model_validate(
        {
            "spool": {"path": tmp_path / "spool"},
            "pacs": [pacs],
            "destination": [
                {"name": "pacs", "pacs": "pacs", "connect_timeout_s": 5, "answer_timeout_s": 10} | destination
            ],
        }
    )
    return {f.code: f for f in ask_destination(settings.destination[0], settings)}


@contextmanager
def archive_of(*classes: str) -> Iterator[int]:
    ae = AE(ae_title="PACS")
    for sop_class in classes:
        ae.add_supported_context(sop_class)
    handlers = [(evt.EVT_C_FIND, lambda event: iter(())), (evt.EVT_N_ACTION, lambda event: (0x0123, None))]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield server.server_address[1]
    server.shutdown()


def test_the_real_contexts_are_proposed_and_each_proof_is_tried(tmp_path: Path) -> None:
    with archive_of(SR, PAGE, FIND, COMMIT) as port:
        found = asked(tmp_path, {"port": port}, proof="commit")
        assert {code: f.level for code, f in found.items()} == {"to": "ok", "commitment": "ok"}, found
        assert "takes sr, page" in found["to"].text
        assert asked(tmp_path, {"port": port}, proof="readback")["read-back"].ok


def test_what_an_archive_does_not_take_is_named(tmp_path: Path) -> None:
    with archive_of(PAGE) as port:
        found = asked(tmp_path, {"port": port}, proof="commit")
    assert found["to"].text.startswith("pacs does not take sr")
    assert not found["commitment"].ok


@pytest.mark.parametrize("host", ["no-such-host.invalid"])
@pytest.mark.parametrize("via", ["cstore", "stow"])
def test_a_host_that_has_no_address_is_a_red_line(tmp_path: Path, host: str, via: str) -> None:
    found = asked(tmp_path, {"host": host, "dicomweb_url": f"http://{host}/dicom-web"}, via=via)
    assert found["to"].level == "fail"
    assert found["to"].remedy


@contextmanager
def web(status: int, kind: str = "", body: bytes = b"", location: str = "") -> Iterator[tuple[str, list[str]]]:
    methods: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            methods.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Location", location), ("Content-Length", str(len(body)))):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/dicom-web", methods
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        ((200, "application/dicom+json", b"{}"), True),
        ((400, "text/html", b"<p>empty"), True),
        ((409, "application/dicom+xml", b""), True),
        ((200, "text/html", b"<form>"), False),
        ((302, "", b"", "http://127.0.0.1:1/login"), False),
        ((301, "", b"", "https://127.0.0.1:1/dicom-web/studies"), False),
        ((401, "", b""), False),
        ((404, "", b""), False),
        ((405, "", b""), False),
        ((502, "", b""), False),
    ],
)
def test_a_store_request_is_told_from_a_login_page(tmp_path: Path, answer: tuple[Any, ...], ok: bool) -> None:
    with web(*answer) as (url, methods):
        found = asked(tmp_path, {"dicomweb_url": url}, via="stow")
    assert found["to"].ok is ok, found["to"].text
    assert methods == ["POST"], "one request, and no other in its stead"


@pytest.mark.parametrize(
    ("answer", "ok"),
    [((200, "application/dicom+json", b"[]"), True), ((204,), True), ((200, "text/html", b"<form>"), False)],
)
def test_a_search_is_told_from_a_login_page(tmp_path: Path, answer: tuple[Any, ...], ok: bool) -> None:
    with web(*answer) as (url, _):
        found = asked(tmp_path, {"dicomweb_url": url}, via="stow", proof="readback")
    assert found["read-back"].ok is ok, found["read-back"].text


def test_what_is_proposed_is_what_is_sent() -> None:
    destination = {"name": "p", "ae_title": "P", "host": "h", "port": 1, "what": ["sr", "page", "pdf", "key_slices"]}
    settings = Settings.model_validate({"destination": [destination | {"reject_superseded": True}]})
    assert set(contexts_of(settings.destination[0], settings).values()) == {
        "sr, key_slices",
        "page",
        "pdf",
        "rejection",
        "union of segments",
    }


def test_a_destination_of_reports_alone_is_asked_for_the_segmentations_that_go_along() -> None:
    destination = {"name": "p", "ae_title": "P", "host": "h", "port": 1, "what": ["sr"]}
    settings = Settings.model_validate({"destination": [destination]})
    assert SEGMENTATION in contexts_of(settings.destination[0], settings)


def test_a_poorer_class_of_report_and_no_segmentations_are_told_and_are_no_fault() -> None:
    with archive(classes=(BASIC_TEXT_SR,)) as there:
        destination = {"name": "p", "ae_title": "P", "host": "127.0.0.1", "port": there.port, "what": ["sr"]}
        settings = Settings.model_validate({"destination": [destination]})
        (found,) = ask_destination(settings.destination[0], settings)
    assert found.ok, found.text
    assert "sr as Basic Text SR, no segmentations" in found.text


# Noise


def test_an_event_that_does_not_fit_is_one_warning_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pynetdicom's state machine raises it, from the loop that reads an association."""

    class Assoc:
        peer_address = "10.0.0.1"

    def out_of_order(_: Any) -> None:
        raise InvalidEventError

    monkeypatch.setattr(DULServiceProvider, "run_reactor", out_of_order)
    monkeypatch.setattr(receive_loop, "PROTOCOL_ERRORS", Recurring(receive_loop.log, "protocol broken"))
    with capture_logs() as lines:
        for _ in range(256):
            receiver = object.__new__(receive_loop.ReceivingUpperLayer)
            receiver._assoc, receiver.to_user_queue = Assoc(), queue.Queue()
            receiver.run_reactor()
    assert [line["log_level"] for line in lines] == ["warning"]


def test_a_wakeup_that_could_not_be_made_is_discarded_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)

    def none_left(*_: int) -> int:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(os, "eventfd", none_left)
    with pytest.raises(OSError, match="open files"):
        PollWakeup()
    gc.collect()
    assert unraisable == []


def test_what_recurs_is_one_line_with_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    import structlog

    now = [0.0]
    monkeypatch.setattr("daemon.logs.time.monotonic", lambda: now[0])
    with capture_logs() as lines:
        recurring = Recurring(structlog.get_logger("x"), "noise")
        for _ in range(256):
            recurring.note("unexpected-pdu")
        now[0] = 61.0
        recurring.flush()
    assert [(line["log_level"], line.get("times", 1)) for line in lines] == [("warning", 1), ("warning", 255)]
