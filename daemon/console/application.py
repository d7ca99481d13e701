"""The console as a whole: which address is which page, and the server in front of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

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
from daemon.console.gate import Gate
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


def routes(gate: Gate) -> list[Route]:
    """Every address. The first word of `page` is the row of the tables in `rights`; empty: whoever is signed in."""
    sign_in = SignIn(gate)
    return [
        *([] if gate.state.provider is None else provider_routes(gate, gate.state.provider)),
        Route("/sign-in", sign_in.show),
        Route("/sign-in", sign_in.take, methods=["POST"]),
        Route("/sign-out", gate.page("", sign_out), methods=["POST"]),
        Route("/language", gate.page("", set_language), methods=["POST"]),
        _static("style.css", "text/css"),
        _static("icon.svg", "image/svg+xml"),
        Route("/", gate.page("today", today_page.today)),
        Route("/exams", gate.page("exams", exam_list.exams)),
        Route("/exams/search", gate.page("search", exam_list.search), methods=["POST"]),
        Route("/exams/{study}", gate.page("exam", exam_page.exam)),
        Route("/exams/{study}/result/{name}", gate.page("report", exam_page.result_file)),
        Route("/exams/{study}/series/{series}", gate.page("pictures", exam_page.slices)),
        Route("/exams/{study}/series/{series}/picture", gate.page("pictures", exam_page.picture)),
        *_orders_of_exams(gate),
        Route("/destinations", gate.page("destinations", machinery_pages.destinations)),
        Route(
            "/destinations/{name}/test", gate.page("test-destination", machinery_pages.test_destination),
            methods=["POST"],
        ),
        Route("/signatures", gate.page("signatures", signature_pages.signatures)),
        Route("/signatures/{digest}", gate.page("signatures", signature_pages.signature)),
        Route("/signatures/{digest}/activate", gate.page("activate", signature_pages.ask_activate)),
        Route("/signatures/{digest}/activate", gate.page("activate", signature_pages.activate), methods=["POST"]),
        Route("/workers", gate.page("workers", machinery_pages.workers)),
        Route("/log", gate.page("log", log_page.log)),
    ]  # fmt: skip


def _orders_of_exams(gate: Gate) -> list[Route]:
    """Of each order the page that asks and the form that gives it."""
    made = []
    for name in OF_EXAM:
        path = f"/exams/{{study}}/{name}"
        made.append(Route(path, gate.page(name, partial(order_pages.ask, name=name))))
        made.append(Route(path, gate.page(name, partial(order_pages.give, name=name)), methods=["POST"]))
    return made


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
        arrival = gate.arrival(request)
        page = gate.message(arrival, HTTPStatus.NOT_FOUND, "This is not there.", "")
        return browser_rules.secured(page, arrival.scheme)

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
