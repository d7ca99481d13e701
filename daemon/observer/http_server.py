"""`axrad observe`'s pages: /metrics, /health/live, /health/ready and /health/ready/CHECK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from daemon.logs import place_of
from daemon.network.accept_backoff import RestingServer
from daemon.observer.traffic_probes import Health

log = structlog.get_logger("axrad.observe")


class CountedCollector(Collector):
    """The sum of what all processes have counted, in the folders of all machines under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def collect(self) -> list[Metric]:
        files = sorted(str(path) for path in self._root.glob("*/*.db"))
        merged: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return list(merged)

    def describe(self) -> list[Metric]:
        return []


class Pages(RestingServer):
    """Serves until it is shut down. `server_port` is the port it really has."""

    def __init__(self, address: tuple[str, int], collectors: list[Collector], health: Health) -> None:
        self.registry = CollectorRegistry()
        for collector in (*collectors, health):
            self.registry.register(collector)
        self.health = health
        super().__init__(address, _Handler)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if path == "/metrics":
            self.health.refresh_soon()
            return 200, CONTENT_TYPE_LATEST, generate_latest(self.registry)
        if path == "/health/live":
            return 200, "application/json", b'{"live": true}\n'
        if path == "/health/ready" or path.startswith("/health/ready/"):
            return self._ready(path.removeprefix("/health/ready").strip("/"))
        return 404, "text/plain", b"/metrics /health/live /health/ready /health/ready/CHECK\n"

    def _ready(self, only: str) -> tuple[int, str, bytes]:
        checks = {c.finding.name: c for c in self.health.checks()}
        if only and only not in checks:
            return 404, "text/plain", f"no such check; there are {', '.join(checks)}\n".encode()
        asked = [checks[only]] if only else list(checks.values())
        ready = all(c.finding.level != "fail" for c in asked)
        body = {"ready": ready, "checks": [c.as_dict() for c in asked]}
        return 200 if ready else 503, "application/json", json.dumps(body, indent=1).encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    server: Pages
    timeout = 30

    def do_GET(self) -> None:
        try:
            status, kind, body = self.server.answer(self.path.partition("?")[0])
        except Exception as error:  # noqa: BLE001 - whoever asks after health gets an answer, whatever happens
            log.error("page-failed", error=type(error).__name__, at=place_of(error))
            failed = {"ready": False, "error": type(error).__name__}
            status, kind, body = 503, "application/json", json.dumps(failed).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Somebody asks every few seconds; that is not worth a line."""
