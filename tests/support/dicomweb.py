"""A DICOMweb archive of few words: what it answers to STOW-RS is given, what it has is listed and handed out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from pydicom import dcmread

BOUNDARY = "part"


class DicomWeb(ThreadingHTTPServer):
    """`answer`: status, headers and body of a POST. `has`: files by SOP Instance UID. `wado`: the status of a GET."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self.has: dict[str, bytes] = {}
        self.wado = 200
        # Classes that are not taken, and the reason that is given, if one is.
        self.refuses: tuple[tuple[str, ...], int | None] | None = None
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answers(self, status: int, body: Any = b"", kind: str = "application/dicom+json", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answer = (status, {"Content-Type": kind, **headers} if kind else headers, raw)

    def judged(self, body: bytes, classes: tuple[str, ...], reason: int | None) -> tuple[int, dict[str, str], bytes]:
        """Take what is not of these classes (PS3.18 10.5.3.1)."""
        boundary = body.lstrip(b"\r\n").partition(b"\r\n")[0]
        parts = [part.partition(b"\r\n\r\n")[2] for part in body.split(boundary)[1:-1]]
        files = {(ds := dcmread(BytesIO(part[:-2]))).SOPInstanceUID: (ds.SOPClassUID, part[:-2]) for part in parts}
        taken = {uid: data for uid, (sop_class, data) in files.items() if sop_class not in classes}
        self.has |= taken
        if not taken and reason is None:
            return 409, {}, b""
        answer = named(*taken, failed={uid: reason or 0 for uid in files if uid not in taken})
        status = 200 if len(taken) == len(files) else 202 if taken else 409
        return status, {"Content-Type": "application/dicom+json"}, json.dumps(answer).encode()

    def posts(self) -> int:
        return sum(1 for method, _ in self.asked if method == "POST")


class _Handler(BaseHTTPRequestHandler):
    server: DicomWeb
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(("POST", self.path))
        refuses = self.server.refuses
        self._say(*(self.server.answer if refuses is None else self.server.judged(body, *refuses)))

    def do_GET(self) -> None:
        self.server.asked.append(("GET", self.path))
        path, _, query = self.path.partition("?")
        if path.startswith("/login"):
            self._say(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
        elif "SOPInstanceUID=" in query:
            uid = query.partition("SOPInstanceUID=")[2].partition("&")[0]
            found = [{"00080018": {"vr": "UI", "Value": [uid]}}] if uid in self.server.has else []
            self._say(200, {"Content-Type": "application/dicom+json"}, json.dumps(found).encode())
        elif self.server.wado != 200:
            self._say(self.server.wado, {}, b"")
        else:
            data = self.server.has.get(path.rpartition("/")[2])
            if data is None:
                self._say(404, {}, b"")
                return
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
            self._say(200, {"Content-Type": kind}, head + data + f"\r\n--{BOUNDARY}--\r\n".encode())

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if status not in (204, 304) else b"")


def named(*uids: str, failed: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """A Store Instances Response that names these as stored, and those as failed with a reason."""
    stored = [{"00081155": {"vr": "UI", "Value": [uid]}, **more} for uid in uids]
    answer: dict[str, Any] = {"00081199": {"vr": "SQ", "Value": stored}} if stored else {}
    if failed:
        answer["00081198"] = {
            "vr": "SQ",
            "Value": [
                {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
                for uid, reason in failed.items()
            ],
        }
    return answer


@contextmanager
def dicomweb() -> Iterator[DicomWeb]:
    """Running until the block ends."""
    with DicomWeb() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
