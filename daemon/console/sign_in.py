"""Signing in and out. A wrong password and a wrong code get one answer, after the same time."""

from __future__ import annotations

import secrets
import threading
import time
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from daemon.console import browser_rules, console_audit, passwords, rendering
from daemon.console.console_audit import Person
from daemon.console.gate import Arrival, Gate, form_of
from daemon.console.user_file import User
from daemon.console.visit import Visit, frame_values
from daemon.share.tries import Tries

WRONG = "User, password or code is wrong, or the code was used already."
TOO_OFTEN = "Too many attempts: try again in {seconds} seconds."
STALE = "The page was open for too long: try again."
# Attempts at once: each takes 64 MiB for some ten milliseconds (argon2id).
ATTEMPTS_AT_ONCE = 2


class SignIn:
    """The page to sign in. Attempts are limited for each address, for each user from an address, and for each user."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._state = gate.state
        self._of_address = Tries(tries=30, refill_s=10.0)
        self._of_pair = Tries(tries=5, refill_s=30.0)
        self._of_user = Tries(tries=100, refill_s=10.0)
        self._counting = threading.Lock()
        self._turns = threading.BoundedSemaphore(ATTEMPTS_AT_ONCE)

    async def show(self, request: Request) -> Response:
        arrival = self._gate.arrival(request)
        refusal = self._gate.refusal(request, arrival)
        return refusal or await self._gate.in_thread(lambda: self._page(arrival), arrival)

    async def take(self, request: Request) -> Response:
        arrival = self._gate.arrival(request)
        if (refusal := self._gate.refusal(request, arrival)) is not None:
            return refusal
        form = await form_of(request)
        nonce = request.cookies.get(browser_rules.cookie_name(arrival.scheme, "sign-in"), "")
        expected = browser_rules.before_sign_in(self._state.secret, nonce)
        ours = nonce and form and browser_rules.equal(form.get("csrf", ""), expected)
        if not ours or form is None or not browser_rules.is_same_origin(request.headers, arrival.scheme):
            return await self._gate.in_thread(lambda: self._page(arrival, STALE, HTTPStatus.FORBIDDEN), arrival)
        before = request.cookies.get(browser_rules.cookie_name(arrival.scheme), "")
        return await self._gate.in_thread(lambda: self._attempt(form, arrival, before), arrival)

    def _attempt(self, form: dict[str, str], arrival: Arrival, before: str) -> Response:
        """`before`: the token of the session that this browser had; it ends where another begins."""
        name = form.get("user", "").strip()[:64]
        wait_s = self._wait_s(name, arrival.address)
        person = Person(name if self._is_user(name) else "", "", arrival.address)
        if wait_s:
            console_audit.signed_in(self._state.settings, person, "too many attempts")
            page = self._page(arrival, TOO_OFTEN, HTTPStatus.TOO_MANY_REQUESTS, seconds=wait_s)
            page.headers["Retry-After"] = str(wait_s)
            return page
        user = self._checked(name, form.get("password", ""), form.get("code", ""))
        if user is None:
            console_audit.signed_in(self._state.settings, person, "wrong password or code")
            return self._page(arrival, WRONG, HTTPStatus.UNAUTHORIZED)
        console_audit.signed_in(self._state.settings, Person(user.name, user.role, arrival.address))
        self._state.sessions.end(before)
        token, _ = self._state.sessions.begin(user.name, user.role, user.generation, arrival.language)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        browser_rules.set_cookie(response, arrival.scheme, token)
        browser_rules.delete_cookie(response, arrival.scheme, "sign-in")
        return response

    def _checked(self, name: str, password: str, code: str) -> User | None:
        """The user, where password and code are right. The code is used up by the right password alone."""
        user = self._state.users.get(name)
        with self._turns:
            right = passwords.is_right(passwords.NOBODY if user is None else user.password, password)
        if user is None or not right or not self._state.users.take_code(name, code, time.time()):
            return None
        return user

    def _wait_s(self, name: str, address: str) -> int:
        with self._counting:
            pair = f"{address} {name}"
            return max(self._of_address.count(address), self._of_pair.count(pair), self._of_user.count(name))

    def _is_user(self, name: str) -> bool:
        """What somebody typed into the wrong field, a password for one, is not written down."""
        return self._state.users.get(name) is not None

    def _page(
        self, arrival: Arrival, error: str = "", status: HTTPStatus = HTTPStatus.OK, **values: object
    ) -> Response:
        nonce = secrets.token_urlsafe(24)
        frame = frame_values(self._state.settings, arrival.language)
        shown = {
            **frame,
            "csrf": browser_rules.before_sign_in(self._state.secret, nonce),
            "provider": self._state.provider is not None,
            "error": rendering.speaker(arrival.language)(error, **values) if error else "",
        }
        response = HTMLResponse(rendering.page("sign_in.html", shown), status)
        browser_rules.set_cookie(response, arrival.scheme, nonce, "sign-in")
        return response


def sign_out(visit: Visit) -> Response:
    """End this session; the cookie goes with it."""
    console_audit.signed_out(visit.settings, visit.person)
    visit.state.sessions.end_session(visit.session)
    response = visit.back_to("/sign-in")
    response.headers["Clear-Site-Data"] = '"cache"'
    browser_rules.delete_cookie(response, visit.scheme)
    return response


def set_language(visit: Visit) -> Response:
    """The language of this session, and of the next in this browser."""
    chosen = visit.form.get("language", "")
    if chosen in rendering.LANGUAGES:
        visit.session.language = chosen
    response = visit.back_to("/")
    response.set_cookie("axrad-language", visit.session.language, path="/", httponly=True, samesite="strict")
    return response
