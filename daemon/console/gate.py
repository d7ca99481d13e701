"""Between a request and a page: who asks, over what, with which right; and what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from daemon.console import browser_rules, console_audit, rendering
from daemon.console.rights import may
from daemon.console.sessions import Session
from daemon.console.visit import ConsoleState, Visit, frame_values
from daemon.logs import place_of
from daemon.serving.connections import Connection
from pipeline.errors import AxradError, TryLater

log = structlog.get_logger("axrad.console")
MOST_FORM_BYTES, MOST_FIELDS = 64 * 1024, 50
PAGES_AT_ONCE = 8
RETRY_S = 10
FORM = "application/x-www-form-urlencoded"
Work = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: by which scheme, from which address, in which language it is answered."""

    scheme: str
    address: str
    language: str


class Gate:
    """Makes the endpoints of pages. Work is done in threads, so many at once."""

    def __init__(self, state: ConsoleState) -> None:
        self.state = state
        self._limiter: CapacityLimiter | None = None

    def page(self, what: str, work: Work) -> Endpoint:
        """An endpoint for those who may see a page, or give an order; a form must carry the session's token."""

        async def endpoint(request: Request) -> Response:
            arrival = self.arrival(request)
            if (refusal := self.refusal(request, arrival)) is not None:
                return refusal
            session = self.session(request, arrival)
            if session is None:
                return browser_rules.secured(RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER), arrival.scheme)
            connection: Connection = request.state.connection
            connection.trusted = True
            form: dict[str, str] | None = {}
            if request.method == "POST":
                form = await form_of(request)
            visit = self._visit(request, session, arrival, form or {})
            why_not = _why_not(visit, request, arrival, what, form)
            if why_not:
                return await self.in_thread(lambda: self._forbidden(visit, what, why_not), arrival)
            return await self.in_thread(lambda: work(visit), arrival, visit)

        return endpoint

    async def in_thread(
        self, work: Callable[[], Response], arrival: Arrival, visit: Visit | None = None, *, detailed: bool = False
    ) -> Response:
        """What the work answers, or a page that says why it could not; with every header.

        `visit`: of somebody who is signed in. Visitors are told what an error says only where `detailed`: it may name
        files.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(PAGES_AT_ONCE)
        try:
            response = await to_thread.run_sync(work, limiter=self._limiter)
        except AxradError as error:
            response = self.trouble(arrival, error, visit, detailed=detailed or visit is not None)
        except Exception as error:  # noqa: BLE001 - the outermost place: one page fails, the console does not
            log.error("page-failed", error=type(error).__name__, at=place_of(error))
            title = "This page could not be made."
            response = self.message(arrival, HTTPStatus.INTERNAL_SERVER_ERROR, title, visit=visit)
        return browser_rules.secured(response, arrival.scheme)

    def arrival(self, request: Request) -> Arrival:
        console = self.state.settings.console
        connection: Connection = request.state.connection
        peer = connection.address
        scheme = browser_rules.scheme_of(request.headers, peer, console.trusted_proxies, request.url.scheme)
        language = request.cookies.get("axrad-language", "")
        if language not in rendering.LANGUAGES:
            language = rendering.preferred_language(request.headers.get("accept-language", ""))
        address = browser_rules.client_of(request.headers, peer, console.trusted_proxies)
        return Arrival(scheme, address, language)

    def refusal(self, request: Request, arrival: Arrival) -> Response | None:
        """Why a request is not answered at all: without a host, or without TLS from elsewhere."""
        if not request.headers.get("host"):
            return browser_rules.secured(PlainTextResponse("a Host is needed\n", 400), arrival.scheme)
        if arrival.scheme != "https" and self.state.settings.console.host not in browser_rules.LOOPBACK_NAMES:
            return browser_rules.secured(PlainTextResponse("HTTPS is needed\n", 403), arrival.scheme)
        return None

    def session(self, request: Request, arrival: Arrival) -> Session | None:
        """The session of the cookie, unless its user is gone or has another role or password by now."""
        token = request.cookies.get(browser_rules.cookie_name(arrival.scheme), "")
        session = self.state.sessions.get(token) if token else None
        if session is None or not session.local:
            return session
        try:
            user = self.state.users.get(session.user)
        except TryLater:
            return None
        if user is None or user.generation != session.generation:
            self.state.sessions.end(token)
            return None
        return session

    def trouble(self, arrival: Arrival, error: AxradError, visit: Visit | None, *, detailed: bool) -> Response:
        """A page for an error, with what it says where `detailed`."""
        later = isinstance(error, TryLater)
        status = HTTPStatus.SERVICE_UNAVAILABLE if later else HTTPStatus.NOT_FOUND
        title = "This cannot be shown just now." if later else "This is not there."
        response = self.message(arrival, status, title, error.message if detailed else "", visit)
        if later:
            response.headers["Retry-After"] = str(RETRY_S)
        return response

    async def absent(self, request: Request) -> Response:
        """The page for an address that leads nowhere."""
        arrival = self.arrival(request)
        session = self.session(request, arrival)
        visit = None if session is None else self._visit(request, session, arrival, {})
        page = partial(self.message, arrival, HTTPStatus.NOT_FOUND, "This is not there.", visit=visit)
        return await self.in_thread(page, arrival, visit)

    def message(
        self, arrival: Arrival, status: HTTPStatus, title: str, text: str = "", visit: Visit | None = None
    ) -> Response:
        """A page of one sentence; with the way to the other pages for somebody who is signed in."""
        if visit is not None:
            return visit.render("message.html", status, title=title, text=text)
        values = frame_values(self.state.settings, arrival.language)
        return HTMLResponse(rendering.page("message.html", {**values, "title": title, "text": text}), status)

    def _visit(self, request: Request, session: Session, arrival: Arrival, form: dict[str, str]) -> Visit:
        named, query = request.path_params, dict(request.query_params)
        return Visit(self.state, session, arrival.scheme, arrival.address, named, query, form)

    def _forbidden(self, visit: Visit, what: str, why: str) -> Response:
        console_audit.refused(visit.settings, visit.person, what, why)
        title = "Your role does not allow this." if why == NOT_ALLOWED else "This form cannot be taken."
        text = "" if why == NOT_ALLOWED else "Open the page again and repeat."
        return visit.render("message.html", HTTPStatus.FORBIDDEN, title=title, text=text)


NOT_ALLOWED = "not authorised"


def _why_not(visit: Visit, request: Request, arrival: Arrival, what: str, form: dict[str, str] | None) -> str:
    """Why somebody who is signed in may not have this; nothing, where they may."""
    if request.method == "POST":
        if not browser_rules.is_same_origin(request.headers, arrival.scheme):
            return "sent by a page from elsewhere"
        if form is None or not browser_rules.equal(form.get("csrf", ""), visit.session.csrf):
            return "a form without the session's token"
    return "" if what == "" or may(visit.session.role, what) else NOT_ALLOWED


async def form_of(request: Request) -> dict[str, str] | None:
    """The fields of a form, one value per name; None where it is none of ours: too long, or of another kind."""
    length = request.headers.get("content-length", "")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return None
    if not (length.isascii() and length.isdigit()) or int(length) > MOST_FORM_BYTES:
        return None
    try:
        body = (await request.body()).decode("utf-8")
        return dict(parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MOST_FIELDS))
    except ValueError:
        return None
