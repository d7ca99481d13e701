"""OpenID Connect: the authorisation code flow with PKCE (RFC 7636), and the ID token that it ends with.

Authlib carries out the flow (OpenID Connect Core 1.0, 3.1), joserfc verifies the token's signature and claims.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final  # Any: JSON of the provider; Authlib's session

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from config.schema import Console
from daemon.console.rights import ROLES, Role
from daemon.console.user_file import USER_NAME
from daemon.network.answer_limits import AnswerLimits, LimitedAdapter
from pipeline.errors import InputRejected, PeerUnreachable

# Signed by the provider's own key; a shared secret, or none at all, is no proof (OpenID Connect Core 3.1.3.7).
ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LIMITS: Final = AnswerLimits(max_bytes=1 << 20, max_wait_s=10.0, max_total_s=30.0)
# How long somebody may take at the provider, and how many may be there at once.
ATTEMPT_S, MOST_ATTEMPTS = 600.0, 1000
CLOCKS_DIFFER_S = 60


class SignInRefused(InputRejected):
    """The provider has not said who this is, or said it of somebody without a role."""

    code = "sign-in-refused"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who was sent to the provider. `state`, `nonce` and `verifier` come back with the answer, or fit it."""

    state: str
    nonce: str
    verifier: str = field(repr=False)
    began_at: float
    back_to: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says this is."""

    user: str
    role: Role


class IdentityProvider:
    """One provider. For several threads."""

    def __init__(self, console: Console) -> None:
        assert console.oidc_issuer is not None
        self._console, self._issuer = console, console.oidc_issuer
        self._lock = threading.Lock()
        self._attempts: dict[str, Attempt] = {}

    def begin(self, back_to: str) -> tuple[str, str]:
        """The nonce of the browser's cookie, and the address at the provider. Raises PeerUnreachable."""
        state, nonce, verifier, cookie = (secrets.token_urlsafe(48) for _ in range(4))
        attempt = Attempt(state, nonce, verifier, time.monotonic(), back_to)
        with self._session(attempt) as session:
            url, _ = session.create_authorization_url(
                self._discovered(session)["authorization_endpoint"], state=attempt.state, nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )  # fmt: skip
        with self._lock:
            late = time.monotonic() - ATTEMPT_S
            self._attempts = {key: one for key, one in self._attempts.items() if one.began_at > late}
            while len(self._attempts) >= MOST_ATTEMPTS:
                del self._attempts[next(iter(self._attempts))]
            self._attempts[cookie] = attempt
        return cookie, str(url)

    def finish(self, cookie: str, query: Mapping[str, str]) -> Identity:
        """Who came back with this cookie and answer; once. Raises SignInRefused, PeerUnreachable."""
        with self._lock:
            attempt = self._attempts.pop(cookie, None)
        if attempt is None or time.monotonic() - attempt.began_at > ATTEMPT_S:
            raise SignInRefused("this sign-in was not begun here, or too long ago")
        if not secrets.compare_digest(query.get("state", "").encode(), attempt.state.encode()):
            raise SignInRefused("the answer belongs to another sign-in")
        if query.get("iss", self._issuer).rstrip("/") != self._issuer.rstrip("/"):
            raise SignInRefused("the answer is another provider's")
        if "code" not in query:
            raise SignInRefused("the identity provider refused the sign-in")
        return self._identity(self._claims(attempt, query["code"]))

    def _claims(self, attempt: Attempt, code: str) -> Mapping[str, Any]:
        with self._session(attempt) as session:
            known = self._discovered(session)
            token = session.fetch_token(known["token_endpoint"], code=code, code_verifier=attempt.verifier)
            document: Any = _json(session, known["jwks_uri"])
            keys = KeySet.import_key_set(document)
            decoded = jwt.decode(str(token.get("id_token", "")), keys, algorithms=ALGORITHMS)
        needed: Any = {
            "iss": {"essential": True, "value": known["issuer"]},
            "aud": {"essential": True, "value": self._console.oidc_client_id},
            "nonce": {"essential": True, "value": attempt.nonce},
            "sub": {"essential": True},
            "exp": {"essential": True},
        }
        try:
            jwt.JWTClaimsRegistry(leeway=CLOCKS_DIFFER_S, **needed).validate(decoded.claims)
        except JoseError as error:
            raise SignInRefused(f"the ID token is not valid: {type(error).__name__}") from None
        claims: Mapping[str, Any] = decoded.claims
        # A token for several, or for another (OpenID Connect Core 3.1.3.7).
        if claims.get("azp", self._console.oidc_client_id) != self._console.oidc_client_id:
            raise SignInRefused("the ID token was made for another client")
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        console = self._console
        named = claims.get(console.oidc_user_claim)
        user = claims["sub"] if named in (None, "") else named
        if not isinstance(user, str) or not USER_NAME.fullmatch(user):
            raise SignInRefused(f"the claim {console.oidc_user_claim} is no name of a user")
        role = role_of(claims.get(console.oidc_role_claim), console.oidc_roles)
        if role is None:
            raise SignInRefused("the identity provider gives you no role here")
        return Identity(user, role)

    def _discovered(self, session: Any) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0: what the issuer says of itself, which must be about this issuer."""
        known = _json(session, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if str(known.get("issuer", "")).rstrip("/") != self._issuer.rstrip("/"):
            raise PeerUnreachable("the identity provider calls itself another issuer than console.oidc_issuer")
        if not all(isinstance(known.get(key), str) for key in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
            raise PeerUnreachable("the identity provider does not say where its endpoints are")
        return known

    @contextmanager
    def _session(self, attempt: Attempt) -> Iterator[Any]:
        """Requests to the provider; what goes wrong there is translated."""
        console = self._console
        session = OAuth2Session(
            console.oidc_client_id, console.oidc_client_secret, scope="openid profile",
            redirect_uri=attempt.back_to, code_challenge_method="S256",
        )  # fmt: skip
        adapter = LimitedAdapter("the identity provider", LIMITS)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.trust_env = False
        if console.oidc_ca is not None:
            session.verify = str(console.oidc_ca)
        try:
            with session:
                yield session
        except (OAuthError, JoseError) as error:
            raise SignInRefused(f"the identity provider's answer is not valid: {type(error).__name__}") from None
        except (requests.RequestException, ValueError, TypeError) as error:
            raise PeerUnreachable(f"the identity provider does not answer: {type(error).__name__}") from None


def role_of(values: object, mapped: Mapping[str, Role]) -> Role | None:
    """The role that a claim's values give: of several the one with most rights over the machinery; None: no access."""
    listed = values if isinstance(values, list) else [values]
    texts = {value for value in listed if isinstance(value, str)}
    given = {mapped[text] for text in texts if text in mapped} if mapped else {role for role in ROLES if role in texts}
    return max(given, key=ROLES.index, default=None)


def _json(session: Any, url: str) -> dict[str, Any]:
    """A document of the provider. Without the token: it is not a question about somebody."""
    response = session.request("GET", url, withhold_token=True, allow_redirects=False)
    if response.status_code != 200:
        raise PeerUnreachable(f"the identity provider answers with status {response.status_code}")
    document = response.json()
    if not isinstance(document, dict):
        raise PeerUnreachable("the identity provider answers with something else than a JSON object")
    return document
