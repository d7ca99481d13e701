"""More that a hostile browser, user, page or neighbour tries against the console."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from config.schema import Console
from daemon.console import browser_rules
from daemon.console.identity_provider import IdentityProvider, SignInRefused, role_of
from daemon.console.orders import OF_EXAM
from daemon.console.user_file import UserFile
from daemon.ledger import open_ledger
from daemon.ledger.moves import add
from tests.support.browsing import PASSWORD, Person, RunningConsole, console_of, console_settings

STUDY = "0123456789abcdef"
HOSTILE = "{0.__class__} {x} %s <script>alert(1)</script> \"' {{ 7*7 }}"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    settings = console_settings(tmp_path_factory.mktemp("attacks"))
    settings.spool.path.mkdir(parents=True)
    ledger = open_ledger(settings)
    with ledger.write() as connection:
        row = {"id": STUDY, "study_uid": "1.2.3", "patient_key": "p", "first_arrival_at": 1.0, "last_arrival_at": 1.0}
        add(connection, "study", "assembling", {**row, "changed_at": 1.0, "dirty": False, "reason": HOSTILE})
    ledger.close()
    with console_of(settings) as running:
        yield running


@pytest.fixture(scope="module")
def operator(console: RunningConsole) -> Person:
    return console.person("operator")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningConsole]:
    with console_of(console_settings(tmp_path / "own")) as running:
        yield running


def raw(console: RunningConsole, request: str) -> bytes:
    """What is answered to these lines, to the end of the connection."""
    port = int(console.base.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(request.replace("\n", "\r\n").encode("latin-1"))
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:80", 200), ("[::1]", 200), ("[::1]:8", 200), ("127.0.0.1:1", 200),
        ("localhost.", 421), ("127.0.0.1.", 421), ("[::2]", 421), ("[::1", 421), ("::1", 421), ("a@localhost", 421),
        ("localhost:80:80", 421), ("localhost, evil.example", 421), ("localhost/evil", 421), ("2130706433", 421),
        ("localhost:x", 421), ("0.0.0.0", 421),
    ],
)  # fmt: skip
def test_no_form_of_another_host_is_taken_for_ours(console: RunningConsole, host: str, status: int) -> None:
    answer = raw(console, f"GET /sign-in HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert int(answer.split()[1]) in (status, 400 if status == 421 else status), answer[:200]


def test_the_host_of_an_absolute_address_is_judged_too(console: RunningConsole) -> None:
    answer = raw(console, "GET http://evil.example/sign-in HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    assert b"evil.example" not in answer
    assert answer.split()[1] in (b"400", b"404", b"421")
    twice = raw(console, "GET /sign-in HTTP/1.1\nHost: localhost\nHost: evil.example\nConnection: close\n\n")
    assert twice.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "path",
    [
        "/exams/..%2f..%2fetc%2fpasswd", "/exams/%00", "/exams/%ff%fe", f"/exams/{'9' * 3000}", "/exams/{x}",
        f"/exams/{STUDY}/series/0/picture", f"/exams/{STUDY}/series/-1", f"/exams/{STUDY}/series/{'9' * 5000}",
        f"/exams/{STUDY}/series/1/picture?slice=../../x", f"/exams/{STUDY}/result/..%2f..%2fsite.key",
        f"/exams/{STUDY}/result/site.key", "/exams/1%20OR%201=1", "/signatures/..%2f..%2fx", "/signatures/%00",
        "/static/..%2fuser_file.py", "/%2e%2e/%2e%2e/etc/passwd",
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_not_there_and_breaks_nothing(operator: Person, path: str) -> None:
    answer = operator.get(path)
    assert answer.status_code in (400, 404, 414, 431), answer.text
    assert "could not be made" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "query", ["after=nan,x", "after=inf,", "after=1,%00", "state=%00&priority={x}", "after=-1e999,z"]
)
def test_a_forged_query_gives_a_page(operator: Person, query: str) -> None:
    assert operator.get(f"/exams?{query}").status_code == 200


@pytest.mark.parametrize("text", ["%", "\0", "' OR 1=1 --", HOSTILE, "9" * 5000, "{x}", "王^小美"])
def test_whatever_is_searched_gives_a_page(operator: Person, text: str) -> None:
    answer = operator.post("/exams/search", {"csrf": operator.token(), "text": text, "issuer": text})
    assert answer.status_code == 200
    assert "knows no such exam" in answer.text
    assert "<script>" not in answer.text


def test_hostile_text_is_shown_as_it_stands(operator: Person) -> None:
    for path in ("/", "/exams", f"/exams/{STUDY}", *(f"/exams/{STUDY}/{name}" for name in OF_EXAM)):
        answer = operator.get(path)
        assert answer.status_code in (200, 403)
        assert "<script" not in answer.text
        assert "49" not in answer.text.partition("<main")[2].partition("{{ 7*7 }}")[0][-40:]
    assert "{{ 7*7 }}" in operator.get(f"/exams/{STUDY}").text


POSTS = [
    "/sign-in", "/sign-out", "/language", "/exams/search", "/destinations/x/test", f"/signatures/{'0' * 64}/activate",
    *(f"/exams/{STUDY}/{name}" for name in OF_EXAM),
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_every_form_needs_the_token_of_this_session(console: RunningConsole, operator: Person, path: str) -> None:
    token = operator.token()
    for form, headers in (
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": token[:-1] + ("A" if token[-1] != "A" else "B")}, {}),
        ({"csrf": token}, {"Origin": "http://evil.example"}),
        ({"csrf": token}, {"Origin": "null"}),
        ({"csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": token}, {"Sec-Fetch-Site": "same-site"}),
    ):
        assert operator.post(path, form, headers=headers).status_code == 403, (form, headers)
    assert operator.http.post(operator.base + path, json={"csrf": token}, allow_redirects=False).status_code == 403
    assert operator.get("/").status_code == 200, "still signed in"


def test_signing_in_begins_a_session_of_its_own_and_ends_the_one_before(own: RunningConsole) -> None:
    """No fixation."""
    person = own.visitor()
    person.http.cookies.set("axrad-session", "chosen-by-somebody-else", domain="127.0.0.1")
    assert person.get("/").status_code == 303
    assert person.try_to_sign_in("viewer", own.code("viewer")).status_code == 303
    first = person.http.cookies.get_dict()["axrad-session"]
    assert first != "chosen-by-somebody-else"
    assert person.try_to_sign_in("admin", own.code("admin")).status_code == 303
    person.http.cookies.clear()
    person.http.cookies.set("axrad-session", first, domain="127.0.0.1")
    assert person.get("/").status_code == 303


def test_after_signing_out_nothing_is_left_in_the_browser(own: RunningConsole) -> None:
    person = own.person("radiologist")
    cookie = person.http.cookies.get_dict()["axrad-session"]
    answer = person.post("/sign-out", {"csrf": person.token()})
    assert '"cache"' in answer.headers["Clear-Site-Data"]
    person.http.cookies.set("axrad-session", cookie, domain="127.0.0.1")
    assert person.get("/exams").headers["Location"] == "/sign-in"


def test_a_code_opens_once_in_however_many_processes(own: RunningConsole) -> None:
    code, step = own.code("viewer"), 0
    files = [UserFile(own.users.path) for _ in range(4)]
    import time

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda file: file.take_code("viewer", code, time.time()), files))
    assert (taken.count(True), step) == (1, 0)


def test_a_role_that_is_lowered_holds_from_the_next_request_on(own: RunningConsole) -> None:
    person = own.person("admin")
    assert person.get("/log").status_code == 200
    token = person.token()
    own.users.set_role("admin", "viewer")
    assert person.get("/log").headers["Location"] == "/sign-in"
    assert person.post("/exams/search", {"csrf": token, "text": "x"}).headers["Location"] == "/sign-in"


def test_a_damaged_file_of_users_tells_a_visitor_no_path(own: RunningConsole) -> None:
    person = own.person("viewer")
    form = {"csrf": person.token("/sign-in"), "user": "viewer", "password": PASSWORD, "code": "123456"}
    own.users.path.write_text("{", encoding="utf-8")
    answer = person.post("/sign-in", form)
    assert answer.status_code == 503
    assert str(own.users.path.parent) not in answer.text
    assert person.get("/").headers["Location"] == "/sign-in"


def test_a_ledger_that_is_away_gives_a_clear_page(own: RunningConsole) -> None:
    person = own.person("operator")
    path = own.settings.spool.path.parent / "ledger.sqlite"
    candidates = [p for p in own.settings.spool.path.parent.rglob("*") if p.suffix in (".sqlite", ".db", ".sqlite3")]
    path = candidates[0]
    for file in path.parent.glob(path.name + "*"):
        file.rename(file.with_name("away-" + file.name))
    path.mkdir()
    for page in ("/", "/exams", "/workers"):
        answer = person.get(page)
        assert answer.status_code == 503, answer.text
        assert "just now" in answer.text
        assert "sqlite3" not in answer.text
        assert "SELECT" not in answer.text
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/", "/exams", f"/exams/{STUDY}", "/sign-in", "/no-such-page"])
def test_a_head_has_headers_alone(console: RunningConsole, operator: Person, path: str) -> None:
    cookie = operator.http.cookies.get_dict()["axrad-session"]
    lines = f"HEAD {path} HTTP/1.1\nHost: localhost\nCookie: axrad-session={cookie}\nConnection: close\n\n"
    head, _, body = raw(console, lines).partition(b"\r\n\r\n")
    assert body == b""
    assert b"no-store" in head


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused_with_every_header(operator: Person, method: str) -> None:
    answer = operator.http.request(method, operator.base + "/exams")
    assert answer.status_code == 405
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("value", [True, 5, {"radiologist": True}, [["radiologist"]], None, "radiologist admin"])
def test_a_claim_of_another_type_gives_no_role(value: object) -> None:
    assert role_of(value, {}) is None
    assert role_of(value, {"True": "admin", "5": "admin"}) is None


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"preferred_username": "li.na"}, "li.na"), ({}, "s1"), ({"preferred_username": ""}, "s1"),
        ({"preferred_username": True}, None), ({"preferred_username": 5}, None),
        ({"preferred_username": ["li.na"]}, None), ({"preferred_username": "li na"}, None), ({"sub": 7}, None),
    ],
)  # fmt: skip
def test_a_name_of_another_type_is_no_name(claims: dict[str, object], user: str | None) -> None:
    issuer = "https://id.example.org"
    provider = IdentityProvider(
        Console(
            oidc_issuer=issuer, oidc_client_id="axrad", oidc_client_secret="s", oidc_user_claim="preferred_username",
            oidc_role_claim="roles",
        )
    )  # fmt: skip
    whole = {"sub": "s1", "roles": ["viewer"], **claims}
    if user is None:
        with pytest.raises(SignInRefused, match="no name of a user"):
            provider._identity(whole)
    else:
        assert provider._identity(whole).user == user


def test_what_is_in_the_trail_is_json_whoever_sent_it(operator: Person, console: RunningConsole) -> None:
    operator.get("/exams/x%0aforged", headers={"X-Forwarded-For": '1.2.3.4"}\n'.strip()})
    assert all(isinstance(json.dumps(line), str) for line in console.trail())


def test_a_line_that_a_browser_made_up_above_the_proxys_own_is_not_believed() -> None:
    """HAProxy adds X-Forwarded-For below what came."""
    proxies = [ip_network("10.0.0.1")]

    def headers(name: str, *lines: str) -> Headers:
        return Headers(raw=[(name.encode(), line.encode()) for line in lines])

    addresses = headers("x-forwarded-for", "198.51.100.9", "203.0.113.7")
    assert browser_rules.client_of(addresses, "10.0.0.1", proxies) == "203.0.113.7"
    assert browser_rules.client_of(addresses, "203.0.113.1", proxies) == "203.0.113.1"
    for lines, scheme in (
        (("https", "http"), "http"),
        (("http", "https"), "https"),
        (("https, http",), "http"),
        ((), "http"),
    ):
        made = headers("x-forwarded-proto", *lines)
        assert browser_rules.scheme_of(made, "10.0.0.1", proxies, "http") == scheme
        assert browser_rules.scheme_of(made, "10.0.0.2", proxies, "http") == "http"
