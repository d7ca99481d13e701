"""The console as a hostile browser, page or user meets it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from config.load import ConfigError, load
from daemon.console.gate import MOST_FORM_BYTES
from tests.support.browsing import PASSWORD, Person, RunningConsole, console_of, console_settings
from tests.support.certificates import make_certificates


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_of(console_settings(tmp_path_factory.mktemp("console"))) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningConsole]:
    with console_of(console_settings(tmp_path / "own")) as running:
        yield running


@pytest.fixture(scope="module")
def admin(console: RunningConsole) -> Person:
    return console.person("admin")


PATHS = ("/", "/sign-in", "/style.css", "/no-such-page")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_scripts_frames_and_other_origins(admin: Person, path: str) -> None:
    headers = admin.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "server" not in headers


def test_pages_are_not_kept_by_the_browser(admin: Person) -> None:
    assert admin.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/exams", "/no-such-page"])
def test_nobody_sees_a_page_without_signing_in(console: RunningConsole, path: str) -> None:
    answer = console.visitor().get(path)
    assert answer.status_code in (303, 404)
    assert answer.headers.get("Location", "/sign-in") == "/sign-in"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:11185", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_name_that_was_looked_up_as_our_address_is_refused(console: RunningConsole, host: str) -> None:
    """DNS rebinding."""
    assert console.visitor().get("/sign-in", headers={"Host": host}).status_code == 421


def test_a_request_without_a_host_is_refused(console: RunningConsole) -> None:
    port = int(console.base.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"GET /sign-in HTTP/1.0\r\n\r\n")
        assert line.recv(64).split()[1] == b"400"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(own: RunningConsole) -> None:
    answer = own.visitor().try_to_sign_in("viewer", own.code("viewer"))
    cookie = answer.headers["Set-Cookie"].lower()
    assert "axrad-session=" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie


def test_over_tls_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    settings = console_settings(tmp_path / "tls", certificate=made.server, key=made.server_key)
    with console_of(settings) as running:
        person = running.visitor()
        person.http.verify = str(made.authority)
        answer = person.try_to_sign_in("viewer", running.code("viewer"))
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-axrad-session=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert answer.headers["Strict-Transport-Security"]
        assert person.get("/").status_code == 200


def test_a_code_opens_once(own: RunningConsole) -> None:
    code = own.code("viewer")
    assert own.visitor().try_to_sign_in("viewer", code).status_code == 303
    again = own.visitor().try_to_sign_in("viewer", code)
    assert again.status_code == 401
    assert "was used already" in again.text


def test_a_wrong_password_does_not_use_up_the_code(own: RunningConsole) -> None:
    code = own.code("viewer")
    assert own.visitor().try_to_sign_in("viewer", code, "not the right password").status_code == 401
    assert own.visitor().try_to_sign_in("viewer", code).status_code == 303


def test_wrong_user_password_and_code_are_one_answer(own: RunningConsole) -> None:
    answers = {
        own.visitor().try_to_sign_in(*attempt).text.count("wrong, or the code")
        for attempt in (("nobody", "000000"), ("viewer", "000000"), ("viewer", own.code("viewer"), "wrong password!"))
    }
    assert answers == {1}


def test_attempts_are_limited_and_another_user_is_not_locked_out(own: RunningConsole) -> None:
    for _ in range(5):
        assert own.visitor().try_to_sign_in("viewer", "000000").status_code == 401
    refused = own.visitor().try_to_sign_in("viewer", own.code("viewer"))
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert own.visitor().try_to_sign_in("admin", own.code("admin")).status_code == 303


def test_what_was_typed_into_the_wrong_field_is_not_in_the_trail(own: RunningConsole) -> None:
    own.visitor().try_to_sign_in("My-Secret-Password", "000000")
    assert "My-Secret-Password" not in str(own.trail())


def test_signing_in_and_out_is_in_the_trail_with_user_role_and_address(own: RunningConsole) -> None:
    person = own.person("radiologist")
    person.post("/sign-out", {"csrf": person.token()})
    assert person.get("/").headers["Location"] == "/sign-in"
    kinds = [(m["EventIdentification"].get("EventTypeCode") or {}).get("originalText") for m in own.trail()]
    assert [k for k in kinds if k in ("Login", "Logout")] == ["Login", "Logout"]
    login = next(
        m for m in own.trail() if m["EventIdentification"].get("EventTypeCode", {}).get("csd-code") == "110122"
    )
    who = login["ActiveParticipant"][0]
    assert (who["UserID"], who["AlternativeUserID"], who["NetworkAccessPointID"]) == (
        "radiologist", "ROLE=radiologist", "127.0.0.1",
    )  # fmt: skip


def test_a_session_ends_with_another_role_and_with_its_user(own: RunningConsole) -> None:
    one, other = own.person("viewer"), own.person("operator")
    own.users.set_role("viewer", "admin")
    own.users.remove("operator")
    assert one.get("/").headers["Location"] == "/sign-in"
    assert other.get("/").headers["Location"] == "/sign-in"


def test_a_session_is_not_taken_over_from_before_signing_in(own: RunningConsole) -> None:
    """Session fixation: a cookie that somebody planted is no session, and the one after signing in is new."""
    person = own.visitor()
    person.http.cookies.set("axrad-session", "planted", domain="127.0.0.1", path="/")
    assert person.get("/").status_code == 303
    person.try_to_sign_in("viewer", own.code("viewer"))
    assert person.http.cookies["axrad-session"] != "planted"


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "x" * 43}])
def test_a_form_without_the_sessions_token_changes_nothing(
    console: RunningConsole, admin: Person, form: dict[str, str]
) -> None:
    assert admin.post("/language", {**form, "language": "zh"}).status_code == 403
    assert 'lang="en"' in admin.get("/").text
    assert console.trail()[-2]["EventIdentification"]["EventOutcomeDescription"] == "a form without the session's token"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_from_a_page_elsewhere_changes_nothing_even_with_the_token(
    admin: Person, headers: dict[str, str]
) -> None:
    assert admin.post("/language", {"csrf": admin.token(), "language": "zh"}, headers=headers).status_code == 403


def test_nobody_is_signed_in_by_a_page_elsewhere(own: RunningConsole) -> None:
    form = {"user": "viewer", "password": PASSWORD, "code": own.code("viewer")}
    assert own.visitor().post("/sign-in", {**form, "csrf": "x"}).status_code == 403
    person = own.visitor()
    token = person.token("/sign-in")
    assert (
        person.post("/sign-in", {**form, "csrf": token}, headers={"Origin": "https://evil.example"}).status_code == 403
    )


def test_a_form_that_is_too_long_or_no_form_is_refused(admin: Person) -> None:
    token = admin.token()
    assert admin.post("/language", {"csrf": token, "x": "y" * MOST_FORM_BYTES}).status_code == 403
    other = admin.http.post(admin.base + "/language", json={"csrf": token}, allow_redirects=False)
    assert other.status_code == 403
    chunks = admin.http.post(
        admin.base + "/language", data=iter([b"csrf=x"]), allow_redirects=False,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert chunks.status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(admin: Person, method: str) -> None:
    assert requests.request(method, admin.base + "/").status_code in (400, 405, 501)


def test_a_forwarded_address_is_believed_from_a_trusted_proxy_alone(tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    with console_of(console_settings(tmp_path / "a")) as plain:
        person = plain.visitor()
        person.http.headers.update(forged)
        assert person.get("/sign-in").headers["Set-Cookie"].startswith("axrad-sign-in=")
        person.try_to_sign_in("viewer", "000000")
        assert plain.trail()[-1]["ActiveParticipant"][0]["NetworkAccessPointID"] == "127.0.0.1"
    with console_of(console_settings(tmp_path / "b", trusted_proxies=["127.0.0.1"])) as behind:
        cookie = requests.get(behind.base + "/sign-in", headers=forged).headers["Set-Cookie"]
        assert cookie.startswith("__Host-axrad-sign-in=")
        forged["X-Forwarded-For"] = "198.51.100.1, 203.0.113.7, 127.0.0.1"
        person = behind.visitor()
        person.http.headers["X-Forwarded-For"] = forged["X-Forwarded-For"]
        person.try_to_sign_in("viewer", "000000")
        assert behind.trail()[-1]["ActiveParticipant"][0]["NetworkAccessPointID"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('host = "0.0.0.0"\nallowed_hosts = ["axrad.example.org"]', "console.host"),
        ('host = "10.1.0.5"\ntrusted_proxies = ["10.1.0.6"]', "console.allowed_hosts"),
        ("idle_s = 0", "console.idle_s"),
        ("idle_s = 86400", "console.idle_s"),
    ],
)
def test_settings_that_would_open_it_wide_are_refused(tmp_path: Path, lines: str, key: str) -> None:
    path = tmp_path / "axrad.toml"
    path.write_text(f"[console]\n{lines}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=key):
        load(path, environ={})
