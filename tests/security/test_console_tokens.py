"""ID tokens of an identity provider that lies, is late, or has another clock: over HTTP, signed for real."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from config.schema import Console
from daemon.console.identity_provider import IdentityProvider, SignInRefused
from pipeline.errors import PeerUnreachable

SECRET = "a secret of more than thirty-two characters"
HOUR = 3600


@dataclass
class Provider:
    """`claims`: over those of a sound token; None leaves one out. `token`: in its place."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    claims: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    issuer: str = ""
    nonce: str = ""

    def answer(self, path: str) -> Mapping[str, Any]:
        if path.endswith("/openid-configuration"):
            ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token")}
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **ends}
        if path == "/keys":
            return {"keys": [self.key.as_dict(private=False)]}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.token or self.signed(self.key)}

    def signed(self, key: Any, algorithm: str = "ES256") -> str:
        return str(jwt.encode({"alg": algorithm, "kid": "k1"}, self.all_claims(), key, algorithms=[algorithm]))

    def all_claims(self) -> dict[str, Any]:
        now = int(time.time())
        sound = {
            "iss": self.issuer, "aud": "axrad", "sub": "li.na", "nonce": self.nonce, "iat": now, "exp": now + 300,
            "roles": ["radiologist"],
        }  # fmt: skip
        return {key: value for key, value in (sound | self.claims).items() if value is not None}


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = json.dumps(made.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as http.server names it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def signed_in(provider: Provider, prepare: Any = None) -> str:
    """The user who comes back from the provider."""
    console = Console(oidc_issuer=provider.issuer, oidc_client_id="axrad", oidc_client_secret=SECRET)
    ours = IdentityProvider(console)
    cookie, url = ours.begin("http://127.0.0.1/sign-in/oidc/callback")
    asked = parse_qs(urlsplit(url).query)
    provider.nonce = asked["nonce"][0]
    if prepare is not None:
        prepare()
    return ours.finish(cookie, {"state": asked["state"][0], "code": "x"}).user


def shifted(claims: dict[str, Any]) -> dict[str, Any]:
    """Times that are said as seconds from now."""
    now = int(time.time())
    return {
        key: now + value if key in ("exp", "iat", "nbf") and isinstance(value, int) else value
        for key, value in claims.items()
    }


@pytest.mark.parametrize(
    "claims", [{}, {"exp": -30}, {"iat": 30}, {"nbf": 30}, {"iat": -HOUR}, {"aud": ["axrad"]}, {"azp": "axrad"}]
)
def test_a_sound_token_opens_also_where_clocks_differ_by_half_a_minute(
    provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = shifted(claims)
    assert signed_in(provider) == "li.na"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -HOUR}, {"exp": None}, {"exp": "tomorrow"}, {"iat": HOUR}, {"nbf": HOUR}, {"nonce": "another"},
        {"nonce": None}, {"aud": "another"}, {"aud": ["another"]}, {"aud": None}, {"iss": "http://evil.example"},
        {"sub": None}, {"azp": "another"}, {"roles": []}, {"roles": {"admin": True}}, {"sub": "<script>"},
    ],
)  # fmt: skip
def test_a_token_of_another_time_place_or_person_opens_nothing(provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = shifted(claims)
    with pytest.raises((SignInRefused, PeerUnreachable)):
        signed_in(provider)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(provider: Provider, algorithm: str, secret: bytes = b"") -> str:
    """A token without a signature, or one under a secret that is none: no library makes these."""
    head = ".".join(
        encoded(json.dumps(part).encode()) for part in ({"alg": algorithm, "kid": "k1"}, provider.all_claims())
    )
    signature = hmac.new(secret, head.encode(), hashlib.sha256).digest() if secret else b""
    return f"{head}.{encoded(signature)}"


FORGED: dict[str, Any] = {
    "another key": lambda p: p.signed(ECKey.generate_key("P-256", {"kid": "k1"})),
    "the client's secret": lambda p: p.signed(OctKey.import_key(SECRET), "HS256"),
    "the public key as a secret": lambda p: by_hand(p, "HS256", p.key.as_pem(private=False)),
    "nobody": lambda p: by_hand(p, "none"),
    "no token at all": lambda p: "x.y",
}


@pytest.mark.parametrize("by", FORGED)
def test_a_token_that_the_provider_did_not_sign_opens_nothing(provider: Provider, by: str) -> None:
    def forge() -> None:
        provider.token = FORGED[by](provider)

    with pytest.raises((SignInRefused, PeerUnreachable)):
        signed_in(provider, forge)
