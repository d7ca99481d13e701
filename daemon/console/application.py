"""The console as a whole: which address is which page, and the server in front of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from config.schema import Console, Settings
from daemon.console import (
    browser_rules,
    exam_list,
    exam_page,
    log_page,
    machinery_pages,
    order_pages,
    rendering,
    signature_pages,
    today_page,
)
from daemon.console.gate import Gate, Work
from daemon.console.identity_provider import IdentityProvider
from daemon.console.orders import OF_EXAM
from daemon.console.picture_process import PictureProcess
from daemon.console.provider_sign_in import provider_routes
from daemon.console.sessions import Sessions
from daemon.console.sign_in import SignIn, set_language, sign_out
from daemon.console.user_file import require_users
from daemon.console.visit import ConsoleState
from daemon.ledger import existing_ledger
from daemon.network.server_tls import CurrentTls, console_files
from daemon.serving.limits import HttpLimits
from daemon.serving.server import HttpServer
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.console")
STATIC_S = 3600


@dataclass(frozen=True, slots=True)
class Address:
    """A page or order of those who are signed in. `what`: its row in the tables of `rights`; empty: for every role."""

    path: str
    what: str
    work: Work
    method: str = "GET"


def _orders_of_exams() -> list[Address]:
    """Of each order the page that asks and the form that gives it."""
    made = []
    for name in OF_EXAM:
        path = f"/exams/{{study}}/{name}"
        made.append(Address(path, name, partial(order_pages.ask, name=name)))
        made.append(Address(path, name, partial(order_pages.give, name=name), "POST"))
    return made


ADDRESSES: Final[tuple[Address, ...]] = (
    Address("/sign-out", "", sign_out, "POST"),
    Address("/language", "", set_language, "POST"),
    Address("/", "today", today_page.today),
    Address("/exams", "exams", exam_list.exams),
    Address("/exams/search", "search", exam_list.search, "POST"),
    Address("/exams/{study}", "exam", exam_page.exam),
    Address("/exams/{study}/result/{name}", "report", exam_page.result_file),
    Address("/exams/{study}/series/{series}", "pictures", exam_page.slices),
    Address("/exams/{study}/series/{series}/picture", "pictures", exam_page.picture),
    *_orders_of_exams(),
    Address("/destinations", "destinations", machinery_pages.destinations),
    Address("/destinations/{name}/test", "test-destination", machinery_pages.test_destination, "POST"),
    Address("/signatures", "signatures", signature_pages.signatures),
    Address("/signatures/{digest}", "signatures", signature_pages.signature),
    Address("/signatures/{digest}/activate", "activate", signature_pages.ask_activate),
    Address("/signatures/{digest}/activate", "activate", signature_pages.activate, "POST"),
    Address("/workers", "workers", machinery_pages.workers),
    Address("/log", "log", log_page.log),
)


def routes(gate: Gate) -> list[Route]:
    sign_in = SignIn(gate)
    return [
        *([] if gate.state.provider is None else provider_routes(gate, gate.state.provider)),
        Route("/sign-in", sign_in.show),
        Route("/sign-in", sign_in.take, methods=["POST"]),
        _static("style.css", "text/css"),
        _static("icon.svg", "image/svg+xml"),
        *(Route(one.path, gate.page(one.what, one.work), methods=[one.method]) for one in ADDRESSES),
    ]


def _static(name: str, kind: str) -> Route:
    """A file that is the same for everybody."""

    async def answer(request: Request) -> Response:
        content = (rendering.HERE / "static" / name).read_bytes()
        response = browser_rules.secured(Response(content, media_type=kind), request.url.scheme)
        response.headers["Cache-Control"] = f"max-age={STATIC_S}"
        return response

    return Route(f"/{name}", answer)


def application(state: ConsoleState) -> Starlette:
    gate = Gate(state)

    async def absent(request: Request, _: Exception) -> Response:
        return await gate.absent(request)

    async def other_method(request: Request, _: Exception) -> Response:
        refused = Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Connection": "close"})
        return browser_rules.secured(refused, request.url.scheme)

    app = Starlette(routes=routes(gate), exception_handlers={404: absent, 405: other_method})
    app.router.redirect_slashes = False
    return app


def limits_of(console: Console) -> HttpLimits:
    """Without TLS of our own only this machine and the proxies connect."""
    behind = console.host not in browser_rules.LOOPBACK_NAMES and console.certificate is None
    return HttpLimits(networks=console.trusted_proxies if behind else ())


@contextmanager
def serving(settings: Settings, config_path: Path | None) -> Iterator[HttpServer]:
    """Serve in a thread while the body runs.

    Raises InputRejected where there is no user, or where certificate or address cannot be used.
    """
    console, users = settings.console, require_users(settings)
    try:
        tls = CurrentTls(console_files(console))
    except (OSError, ValueError) as error:
        raise InputRejected(f"console.certificate cannot be used: {error}", code="bad-certificate") from error
    sessions = Sessions(console.idle_s, console.longest_s, time.monotonic)
    with closing(existing_ledger(settings)) as ledger, closing(PictureProcess()) as pictures:
        provider = None if console.oidc_issuer is None else IdentityProvider(console)
        state = ConsoleState(
            settings, config_path, ledger, users, sessions, pictures, provider, secrets.token_bytes(32)
        )
        names = browser_rules.host_names(console)
        try:
            server = HttpServer(
                (console.host, console.port), application(state), limits_of(console), tls=tls,
                host_rule=names.__contains__,
            )  # fmt: skip
        except OSError as error:
            where = f"{console.host}:{console.port}"
            raise InputRejected(f"cannot listen on {where}: {error.strerror}", code="cannot-listen") from error
        with server:
            log.info("console", host=console.host, port=server.server_port, tls=tls.enabled)
            yield server


def serve(settings: Settings, config_path: Path | None, stop: threading.Event) -> None:
    """Until `stop`. Raises InputRejected."""
    with serving(settings, config_path):
        stop.wait()
