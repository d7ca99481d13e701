"""Signing in at an identity provider: the way there, and the way back."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from daemon.console import browser_rules, console_audit, rendering
from daemon.console.console_audit import Person
from daemon.console.gate import Arrival, Gate
from daemon.console.identity_provider import IdentityProvider, SignInRefused
from daemon.console.visit import frame_values

BACK = "/sign-in/oidc/callback"


def provider_routes(gate: Gate, provider: IdentityProvider) -> list[Route]:
    async def begin(request: Request) -> Response:
        arrival = gate.arrival(request)
        back_to = f"{arrival.scheme}://{request.headers.get('host', '')}{BACK}"
        return gate.refusal(request, arrival) or await gate.in_thread(
            partial(_begin, provider, arrival, back_to), arrival, detailed=True
        )

    async def finish(request: Request) -> Response:
        arrival = gate.arrival(request)
        cookie = request.cookies.get(browser_rules.cookie_name(arrival.scheme, "oidc"), "")
        work = partial(_finish, gate, provider, arrival, cookie, dict(request.query_params))
        return gate.refusal(request, arrival) or await gate.in_thread(work, arrival, detailed=True)

    return [Route("/sign-in/oidc", begin), Route(BACK, finish)]


def _begin(provider: IdentityProvider, arrival: Arrival, back_to: str) -> Response:
    cookie, url = provider.begin(back_to)
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    # The provider's page leads back here: a strict cookie would not come along.
    browser_rules.set_cookie(response, arrival.scheme, cookie, "oidc", "lax")
    return response


def _finish(gate: Gate, provider: IdentityProvider, arrival: Arrival, cookie: str, query: dict[str, str]) -> Response:
    """A session for whom the provider names.

    The page goes on by itself: a redirect would still come from elsewhere, without the session's strict cookie.
    """
    state = gate.state
    try:
        identity = provider.finish(cookie, query)
    except SignInRefused as error:
        console_audit.signed_in(state.settings, Person("", "", arrival.address), f"identity provider: {error.message}")
        title = "The identity provider has not signed you in."
        return gate.message(arrival, HTTPStatus.FORBIDDEN, title, error.message)
    console_audit.signed_in(state.settings, Person(identity.user, identity.role, arrival.address))
    token, _ = state.sessions.begin(identity.user, identity.role, "", arrival.language, local=False)
    page = rendering.page("continue.html", frame_values(state.settings, arrival.language))
    response = HTMLResponse(page)
    browser_rules.set_cookie(response, arrival.scheme, token)
    browser_rules.delete_cookie(response, arrival.scheme, "oidc")
    return response
