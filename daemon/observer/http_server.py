"""`axrad observe`'s pages: /metrics, /health/live, /health/ready and /health/ready/CHECK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

import structlog
from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from daemon.logs import place_of
from daemon.observer.traffic_probes import Health
from daemon.serving.limits import HttpLimits
from daemon.serving.request_bounds import HostRule
from daemon.serving.server import HttpServer

log = structlog.get_logger("axrad.observe")
LIMITS = HttpLimits(connections=128, connections_per_address=32)
# Pages that are made at once, and those that may wait for it; one beyond that is asked to come back.
PAGES_AT_ONCE, MAX_WAITING, PAGES_COME_BACK_S = 4, 32, 2
ALIVE = '{"live": true}\n'
THERE_ARE = "/metrics /health/live /health/ready /health/ready/CHECK\n"


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


class Pages(HttpServer):
    """Serves inside `with`. Life is told at once; metrics and checks are made in threads, each in its own."""

    def __init__(self, address: tuple[str, int], collectors: list[Collector], health: Health) -> None:
        self.registry = CollectorRegistry()
        for collector in (*collectors, health):
            self.registry.register(collector)
        self.health = health
        routes = [
            Route("/health/live", _live),
            Route("/metrics", _Threaded(self).page),
            Route("/health/ready", (checks := _Threaded(self)).page),
            Route("/health/ready/{check:path}", checks.page),
        ]
        app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _other_method})
        app.router.redirect_slashes = False
        super().__init__(address, app, LIMITS, host_rule=host_rule(address[0]))

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        try:
            return self._page(path)
        except Exception as error:  # noqa: BLE001 - whoever asks after health gets an answer, whatever happens
            log.error("page-failed", error=type(error).__name__, at=place_of(error))
            failed = {"ready": False, "error": type(error).__name__}
            return 503, "application/json", json.dumps(failed).encode() + b"\n"

    def _page(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            self.health.refresh_soon()
            return 200, CONTENT_TYPE_LATEST, generate_latest(self.registry)
        return self._ready(path.removeprefix("/health/ready").strip("/"))

    def _ready(self, only: str) -> tuple[int, str, bytes]:
        checks = {c.finding.name: c for c in self.health.checks()}
        if only and only not in checks:
            return 404, "text/plain", f"no such check; there are {', '.join(checks)}\n".encode()
        asked = [checks[only]] if only else list(checks.values())
        ready = all(c.finding.level != "fail" for c in asked)
        body = {"ready": ready, "checks": [c.as_dict() for c in asked]}
        return 200 if ready else 503, "application/json", json.dumps(body, indent=1).encode() + b"\n"


class _Threaded:
    """Pages of one kind, made in threads that only they use."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._limiter: CapacityLimiter | None = None
        self._asked = 0

    async def page(self, request: Request) -> Response:
        if self._limiter is None:
            self._limiter = CapacityLimiter(PAGES_AT_ONCE)
        if self._asked >= PAGES_AT_ONCE + MAX_WAITING:
            return Response(status_code=503, headers={"Retry-After": str(PAGES_COME_BACK_S)})
        self._asked += 1
        try:
            status, kind, body = await to_thread.run_sync(
                self._pages.answer, request.url.path, limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            self._asked -= 1
        return Response(body, status, headers={"Content-Type": kind})


async def _live(_: Request) -> Response:
    return Response(ALIVE, media_type="application/json")


async def _not_found(_: Request, __: Exception) -> Response:
    return PlainTextResponse(THERE_ARE, HTTPStatus.NOT_FOUND)


async def _other_method(_: Request, __: Exception) -> Response:
    return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD", "Connection": "close"})


def host_rule(bound_to: str) -> HostRule:
    """Served to this machine alone, pages are asked for by address, or as localhost: a name that somebody else's page
    had looked up as our address (DNS rebinding) is none of these. Served to others, any name may lead here."""
    if bound_to != "localhost" and not _is_loopback(bound_to):
        return None
    return lambda name: name == "localhost" or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ip_address(name).is_loopback
