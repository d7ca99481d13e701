"""People of an identity provider (OpenID Connect) sign in to the console: npm's oidc-provider, in Chromium."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from config.load import ConfigError, load
from daemon.console.identity_provider import role_of
from tests.support import viewer
from tests.support.browsing import RunningConsole, console_of, console_settings
from tests.support.console_site import WIDTHS
from tests.support.postgres import free_port
from tests.support.waiting import wait_for_end

ACCOUNTS = {"li.na": ["readers", "staff"], "wang": ["staff"], "root": ["staff", "it", "readers"]}
ROLES = {"readers": "radiologist", "it": "admin"}
SECRET = "a secret that is long enough"


@contextmanager
def provider(port: int) -> Iterator[str]:
    """A provider that knows a console at this port; the issuer."""
    back = f"http://127.0.0.1:{port}/sign-in/oidc/callback"
    order = {
        "accounts": ACCOUNTS,
        "clients": [{"client_id": "axrad", "client_secret": SECRET, "redirect_uris": [back]}],
    }
    environment = {**os.environ, "NODE_MODULES": str(viewer.FOLDER)}
    process = subprocess.Popen(
        ["node", str(viewer.HERE / "identity_provider.mjs")], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin:
        stdin.write(json.dumps(order))
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        wait_for_end(process)
        process.stdout.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    if not (viewer.FOLDER / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("no oidc-provider (script/peers-viewer installs it)")
    port = free_port()
    with provider(port) as issuer:
        settings = console_settings(
            tmp_path_factory.mktemp("provider"), port=port, oidc_issuer=issuer, oidc_client_id="axrad",
            oidc_client_secret=SECRET, oidc_roles=ROLES,
        )  # fmt: skip
        with console_of(settings) as running:
            yield running


def signed_in(console: RunningConsole, name: str, back: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """What somebody of the provider's sees. `back`: the path at which the way through its pages ends."""
    steps = [
        {"visit": "/sign-in"}, {"press": "Sign in at the hospital's identity provider"},
        {"fill": {"login": name, "password": "any"}}, {"press": "Sign-in"}, {"press": "Continue"}, {"await": back},
        {"look": "there"}, *more,
    ]  # fmt: skip
    with viewer.Browser() as browser:
        # The provider's own pages ask for fonts from elsewhere.
        return browser.browse(console.base, steps, axe=False, quiet=False)


pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node")]
CALLBACK = "/sign-in/oidc/callback"


def test_a_claim_gives_the_role(console: RunningConsole) -> None:
    there, log = signed_in(console, "li.na", "/", {"visit": "/log"}, {"look": "log"})
    assert "li.na radiologist" in there["text"]
    assert log["status"] == 403
    who = next(m for m in console.trail() if m["ActiveParticipant"][0]["UserID"] == "li.na")
    assert who["EventIdentification"]["EventTypeCode"]["originalText"] == "Login"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_to_sign_in_offers_the_provider(console: RunningConsole, width: int) -> None:
    with viewer.Browser() as browser:
        (page,) = browser.browse(console.base, [{"visit": "/sign-in"}, {"look": "sign-in"}], width=width)
    assert "Sign in at the hospital's identity provider" in page["text"]


def test_of_several_roles_the_one_listed_last_counts(console: RunningConsole) -> None:
    (there,) = signed_in(console, "root", "/")
    assert "root admin" in there["text"]


def test_without_a_role_there_is_no_access(console: RunningConsole) -> None:
    there, first = signed_in(console, "wang", CALLBACK, {"visit": "/"}, {"look": "first"})
    assert there["status"] == 403
    assert "no role" in there["text"]
    assert first["path"] == "/sign-in"
    last = [m for m in console.trail() if "identity provider" in str(m)][-1]
    assert last["EventIdentification"]["EventOutcomeIndicator"] == 4


@pytest.mark.parametrize("query", ["", "?code=x&state=y", "?error=access_denied"])
def test_an_answer_that_nobody_asked_for_signs_nobody_in(console: RunningConsole, query: str) -> None:
    assert console.visitor().get(f"{CALLBACK}{query}").status_code == 403


def test_an_answer_for_another_sign_in_is_refused_and_ends_the_attempt(console: RunningConsole) -> None:
    person = console.visitor()
    began = person.get("/sign-in/oidc")
    assert "code_challenge_method=S256" in began.headers["Location"]
    assert "nonce=" in began.headers["Location"]
    assert SECRET not in began.headers["Location"]
    assert "samesite=lax" in began.headers["Set-Cookie"].lower()
    assert "another sign-in" in person.get(f"{CALLBACK}?code=x&state=forged").text
    assert "not begun here" in person.get(f"{CALLBACK}?code=x&state=forged").text


@pytest.mark.parametrize(
    ("values", "mapped", "role"),
    [
        (["viewer"], {}, "viewer"), ("operator", {}, "operator"), (["viewer", "admin"], {}, "admin"), ([], {}, None),
        (None, {}, None), (["root"], {}, None), (["admin"], {"it": "admin"}, None), ([1, {"a": "admin"}], {}, None),
        ({"admin": True}, {}, None),
    ],
)  # fmt: skip
def test_a_role_is_given_by_what_is_mapped_and_by_nothing_else(values: object, mapped: Any, role: str | None) -> None:
    assert role_of(values, mapped) == role


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('oidc_issuer = "https://id.example.org"', "oidc_client_id, console.oidc_client_secret must be set too"),
        (
            'oidc_issuer = "http://id.example.org"\noidc_client_id = "a"\noidc_client_secret = "b"',
            "must begin with https://",
        ),
        ('oidc_roles = {"x" = "root"}', "oidc_roles"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, lines: str, sentence: str) -> None:
    path = tmp_path / "axrad.toml"
    path.write_text(f"[console]\n{lines}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        load(path, environ={})
