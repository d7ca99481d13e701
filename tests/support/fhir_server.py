"""A small FHIR R4 server on a real socket: search on Patient and Observation, pages, OperationOutcomes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


class FhirServer(ThreadingHTTPServer):
    """`resources` are served; `requests` keeps (path and query, Authorization); `fail` answers every search with it."""

    daemon_threads = True

    def __init__(self, page_size: int = 3, token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resources: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str | None]] = []
        self.page_size = page_size
        self.token = token
        self.fail: tuple[int, bytes] | None = None
        self.next_host: str | None = None
        # Status and target of a redirect that answers everything; what is found (a lenient server may ignore it).
        self.redirect: tuple[int, str] | None = None
        self.fits: Callable[[dict[str, Any], dict[str, str]], bool] = _fits

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/fhir"


class _Handler(BaseHTTPRequestHandler):
    server: FhirServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        if self.server.redirect is not None:
            self.send_response(self.server.redirect[0])
            self.send_header("Location", self.server.redirect[1])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.server.fail is not None:
            status, body = self.server.fail
            self._send(status, body)
        elif self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._send(401, self._outcome("login"))
        else:
            self._search()

    def _search(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        kind = parts.path.rsplit("/", 1)[-1]
        if kind not in ("Patient", "Observation", "Specimen"):
            self._send(404, self._outcome("not-found"))
            return
        found = [r for r in self.server.resources if r["resourceType"] == kind and self.server.fits(r, query)]
        start = int(query.get("_offset", 0))
        page = found[start : start + self.server.page_size]
        bundle: dict[str, Any] = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(found),
            "link": [{"relation": "self", "url": self.server.url + "/" + kind}],
            "entry": [{"fullUrl": f"{self.server.url}/{kind}/{r['id']}", "resource": r} for r in page],
        }
        if start + self.server.page_size < len(found):
            again = urlencode(query | {"_offset": str(start + self.server.page_size)})
            base = self.server.next_host or self.server.url
            bundle["link"].append({"relation": "next", "url": f"{base}/{kind}?{again}"})
        self._send(200, json.dumps(bundle).encode())

    def _outcome(self, code: str) -> bytes:
        issue = [{"severity": "error", "code": code, "diagnostics": "no"}]
        return json.dumps({"resourceType": "OperationOutcome", "issue": issue}).encode()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _fits(resource: dict[str, Any], query: dict[str, str]) -> bool:
    if "identifier" in query:
        # FHIR R4 3.1.1.4.0.1: a bar inside a value comes escaped
        *system, value = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\)\|", query["identifier"])]
        identifiers = resource.get("identifier", [])
        if not any(i["value"] == value and system in ([], [i.get("system")]) for i in identifiers):
            return False
    if "patient" in query and resource["subject"]["reference"] != f"Patient/{query['patient']}":
        return False
    if "_id" in query and resource["id"] not in query["_id"].split(","):
        return False
    if "code" in query:
        wanted = {tuple(token.split("|")) for token in query["code"].split(",")}
        return any((c.get("system"), c.get("code")) in wanted for c in resource["code"]["coding"])
    return True


@contextmanager
def running(page_size: int = 3, token: str | None = None) -> Iterator[FhirServer]:
    """A server that answers until the block ends."""
    with FhirServer(page_size, token) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def patient(
    number: str, identifier: str, system: str = "urn:oid:1.2.3", birth_date: str | None = "1970-05-17"
) -> dict[str, Any]:
    """An mCODE cancer patient."""
    found: dict[str, Any] = {
        "resourceType": "Patient",
        "id": number,
        "meta": {"profile": ["http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-cancer-patient"]},
        "identifier": [{"use": "usual", "system": system, "value": identifier}],
        "name": [{"family": "Synthetic", "given": ["Nobody"]}],
        "gender": "female",
    }
    return found if birth_date is None else found | {"birthDate": birth_date}


def specimen(number: str, kind: str, **more: Any) -> dict[str, Any]:
    """A Specimen whose type is told in words."""
    return {"resourceType": "Specimen", "id": number, "type": {"text": kind}, **more}


def observation(
    number: str, code: str, value: dict[str, Any], *, on: str | None = "2026-01-10", subject: str = "p1", **more: Any
) -> dict[str, Any]:
    """A final Observation with a LOINC code; `value` holds its value[x]."""
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "id": number,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{subject}"},
        **value,
        **more,
    }
    return found if on is None else found | {"effectiveDateTime": on}


def concept(code: str, display: str = "", system: str = "http://snomed.info/sct") -> dict[str, Any]:
    return {"valueCodeableConcept": {"coding": [{"system": system, "code": code, "display": display}]}}


def percent(value: float) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}}
