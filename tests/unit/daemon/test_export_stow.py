"""What an archive's answer to STOW-RS comes to, over a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.export import stow
from daemon.export.association import Address, DestinationRefused
from daemon.export.send_outcome import Congested, ObjectRefused, items_of
from pipeline.errors import PeerUnreachable
from tests.support.delivering import small_object

UID = "1.2.1.1.1"


class Answers(HTTPServer):
    """Gives one prepared answer to everything, and keeps what it was asked."""

    status = 200
    body: bytes = b""
    kind = "application/dicom+json"

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Answers]:
    with Answers() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    small_object("sr", "1.2.1", 1).save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    return tmp_path / "sr.dcm"


def address(server: Answers, **more: Any) -> Address:
    url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web/"
    return Address("archive", "A", "127.0.0.1", 104, "AXRAD", dicomweb_url=url, **more)


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def answer(server: Answers, status: int, told: dict[str, Any]) -> None:
    server.status, server.body = status, json.dumps(told).encode()


def test_the_file_goes_out_as_it_is(server: Answers, files: Path) -> None:
    answer(server, 200, {"00081199": element("SQ", {"00081155": element("UI", UID)})})
    (sent,) = stow.send(address(server), items_of([files]))
    path, headers, body = server.asked[0]
    assert path == "/dicom-web/studies"
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    assert files.read_bytes() in body
    assert (sent.status, sent.coerced_uid) == (0, None)


def test_a_warning_names_the_uid_under_which_it_is_kept(server: Answers, files: Path) -> None:
    modified = {"00080018": element("UI", UID)}
    stored = {
        "00081155": element("UI", "9.9"),
        "00081196": element("US", 0xB000),
        "04000561": element("SQ", {"04000550": element("SQ", modified)}),
    }
    answer(server, 202, {"00081199": element("SQ", stored)})
    server.kind = "application/dicom+json; charset=utf-8"
    (sent,) = stow.send(address(server), items_of([files]))
    assert (sent.status, sent.coerced_uid, sent.stored) == (0xB000, "9.9", True)


def test_a_refused_instance_has_the_archives_reason(server: Answers, files: Path) -> None:
    failed = {"00081155": element("UI", UID), "00081197": element("US", 0xA900)}
    answer(server, 409, {"00081198": element("SQ", failed)})
    (sent,) = stow.send(address(server), items_of([files]))
    assert (sent.status, sent.stored) == (0xA900, False)


def test_an_answer_in_xml_is_read_too(server: Answers, files: Path) -> None:
    server.status, server.kind = 202, "application/dicom+xml"
    server.body = (
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        '<DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">'
        '<DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">'
        f'<Value number="1">{UID}</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>'
    ).encode()
    assert stow.send(address(server), items_of([files]))[0].status == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ObjectRefused),
        (415, ObjectRefused),
        (401, DestinationRefused),
        (404, DestinationRefused),
        (429, Congested),
        (503, Congested),
        (500, PeerUnreachable),
        (502, PeerUnreachable),
    ],
)
def test_other_statuses_are_errors_of_their_kind(
    server: Answers, files: Path, status: int, error: type[Exception]
) -> None:
    server.status = status
    with pytest.raises(error):
        stow.send(address(server), items_of([files]))
    assert len(server.asked) == 1, "repeating is the ledger's business"


def test_a_token_is_shown_and_never_printed(server: Answers, files: Path) -> None:
    there = address(server, dicomweb_token="s3cret")
    stow.send(there, items_of([files]))
    assert server.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(there)


def test_a_user_and_password_are_shown(server: Answers, files: Path) -> None:
    stow.send(address(server, dicomweb_user="u", dicomweb_password="p"), items_of([files]))
    assert server.asked[0][1]["Authorization"].startswith("Basic ")


def test_qido_finds_only_the_instance_that_was_asked_for(server: Answers, files: Path) -> None:
    from daemon.export.send_outcome import Sent

    (item,) = items_of([files])
    server.body = json.dumps([{"00080018": element("UI", "1.1")}]).encode()
    assert stow.listed(address(server), [Sent(item, 0)]) == []
    server.body = json.dumps([{"00080018": element("UI", UID)}]).encode()
    assert stow.listed(address(server), [Sent(item, 0)]) == [Sent(item, 0)]
    assert "SOPInstanceUID=1.2.1.1.1" in server.asked[-1][0]


def test_nobody_at_the_url_is_a_peer_that_does_not_answer(server: Answers, files: Path) -> None:
    there = address(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(PeerUnreachable):
        stow.send(there, items_of([files]))
