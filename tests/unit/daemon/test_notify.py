"""Notices: of what, how often, through what, and never about whom."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from config.schema import Email, Settings
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.engine import note
from daemon.ledger.tables import breakers, studies
from daemon.notify.channels import channels_of, mail
from daemon.notify.notifier import SEND_AGAIN_S, Notice, Notifier
from tests.support.queued import NOW, add_revision, add_study, queued

DESTINATION = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 11113}
NAME = "Secret^Person"


class Post:
    """A channel that remembers, or refuses."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.broken = False

    def __call__(self, notice: Notice) -> None:
        if self.broken:
            raise ConnectionRefusedError
        self.notices.append(notice)

    @property
    def kinds(self) -> list[tuple[str, bool]]:
        return [(n.kind, n.over) for n in self.notices]


class House:
    """A notifier on a ledger, with a clock that is set by hand."""

    def __init__(self, ledger: Ledger, folder: Path, **notify: Any) -> None:
        self.ledger, self.now, self.post = ledger, NOW, Post()
        spool = {"path": folder, "warn_free_bytes": 0, "refuse_free_bytes": 0, **notify.pop("spool", {})}
        settings = {"notify": notify, "spool": spool, "destination": [DESTINATION]}
        self.settings = Settings.model_validate(settings)
        self.notifier = self.another()
        self.notifier.tick()

    def another(self) -> Notifier:
        """As after a restart."""
        return Notifier(self.settings, self.ledger, lambda: self.now, {"post": self.post})

    def failed(self, name: str, code: str = "files-gone") -> None:
        add_study(self.ledger, name, "failed", reason=f"the label {NAME}", reason_code=code)
        revision = add_revision(self.ledger, name, state="failed", reason=NAME, reason_code=code)
        with self.ledger.write() as connection:
            note(connection, self.now, "failed", f"{code}: {NAME}", name, revision)

    def after(self, seconds: float) -> list[Notice]:
        self.now += seconds
        return self.notifier.tick()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(Settings.model_validate({"spool": {"path": tmp_path / "spool"}}))
    yield opened
    opened.close()


@pytest.fixture
def house(ledger: Ledger, tmp_path: Path) -> House:
    return House(ledger, tmp_path)


def test_an_exam_that_is_set_aside_is_told_with_its_id_and_code(house: House) -> None:
    house.failed("s1")
    (notice,) = house.after(1)
    assert notice.kind == "failed"
    assert notice.items == ({"study": "s1", "code": "files-gone"},)
    assert notice.text.startswith("axrad: exams were set aside after errors: 1 (files-gone): s1.")


def test_nothing_is_told_twice_also_after_a_restart(house: House) -> None:
    house.failed("s1")
    assert len(house.after(1)) == 1
    assert house.after(10_000) == []
    house.notifier = house.another()
    assert house.after(10_000) == []


def test_what_happened_before_the_first_start_is_not_told(ledger: Ledger, tmp_path: Path) -> None:
    first = House(ledger, tmp_path, on=["disk"])
    first.failed("s1")
    second = House(ledger, tmp_path)
    assert second.after(1) == []


def test_many_at_once_are_one_notice_and_what_follows_waits(house: House) -> None:
    for number in range(30):
        house.failed(f"s{number:02}")
    (notice,) = house.after(1)
    assert len(notice.items) == 30
    assert "and 20 more" in notice.text
    house.failed("later")
    assert house.after(200) == []
    (notice,) = house.after(200)
    assert [item["study"] for item in notice.items] == ["later"]


def test_one_kind_does_not_hold_back_another(house: House) -> None:
    house.failed("s1")
    house.after(1)
    add_study(house.ledger, "s2", "not_evaluated")
    revision = add_revision(house.ledger, "s2", state="not_evaluated", reason_code="outside-training")
    with house.ledger.write() as connection:
        note(connection, house.now, "not_evaluated", NAME, "s2", revision)
    assert [(n.kind, n.items[0]["code"]) for n in house.after(1)] == [("not_evaluated", "outside-training")]


def test_a_held_study_and_a_dead_letter_are_told(house: House) -> None:
    add_study(house.ledger, "s1", "held", reason_code="identity-changes")
    revision = add_revision(house.ledger, "s1")
    with house.ledger.write() as connection:
        note(connection, house.now, "held", NAME, "s1")
        note(connection, house.now, "delivery-failed", f"pacs: {NAME}", "s1", revision)
        note(connection, house.now, "delivery-retry", "pacs: again later", "s1", revision)
    assert sorted(n.kind for n in house.after(1)) == ["dead_letter", "held"]


def test_no_notice_quotes_a_reason_in_words(house: House) -> None:
    house.failed("s1")
    (notice,) = house.after(1)
    assert NAME not in notice.text + json.dumps(notice.items)


def test_a_channel_that_is_away_is_told_later(house: House) -> None:
    house.post.broken = True
    house.failed("s1")
    assert house.after(1) == []
    house.post.broken = False
    assert house.after(1) == [], "not at once again"
    assert [n.kind for n in house.after(SEND_AGAIN_S)] == ["failed"]


def test_a_kind_that_is_not_asked_for_is_not_told(ledger: Ledger, tmp_path: Path) -> None:
    house = House(ledger, tmp_path, on=["held"])
    house.failed("s1")
    assert house.after(1) == []


def test_a_full_disk_is_told_once_again_after_hours_and_when_it_is_over(ledger: Ledger, tmp_path: Path) -> None:
    house = House(ledger, tmp_path, spool={"warn_free_bytes": 10**18})
    assert house.post.kinds == [("disk", False)]
    assert house.after(3600) == []
    assert [n.over for n in house.after(6 * 3600)] == [False]
    house.settings = house.settings.model_copy(
        update={"spool": house.settings.spool.model_copy(update={"warn_free_bytes": 0})}
    )
    house.notifier = house.another()
    assert [(n.kind, n.over) for n in house.after(1)] == [("disk", True)]


def test_a_destination_that_is_down_is_told_from_its_breaker_on(house: House) -> None:
    row = {"destination": "pacs", "failing_since": NOW, "open_until": None, "reason": "no answer"}
    with house.ledger.write() as connection:
        connection.execute(breakers.insert().values(failures=2, **row))
    assert house.after(60) == []
    with house.ledger.write() as connection:
        connection.execute(breakers.update().values(failures=3))
    (notice,) = house.after(60)
    assert notice.kind == "peer_down"
    assert "pacs has not taken results for 2 min" in notice.text
    with house.ledger.write() as connection:
        connection.execute(breakers.update().values(failures=0))
    assert [n.over for n in house.after(60)] == [True]


def test_exams_that_nobody_works_on_are_told(house: House) -> None:
    queued(house.ledger, "s1")
    assert house.after(60) == []
    assert [n.kind for n in house.after(100)] == ["no_workers"]
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(state="running"))
    assert [n.over for n in house.after(1)] == [True]


# Channels


@contextmanager
def webhook(status: int = 200, body: bytes = b"", **headers: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            got.append({"followed": self.path})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()
        thread.join()


NOTICE = Notice("failed", "axrad: 1 exams were set aside", ({"study": "s1", "code": "files-gone"},))


def test_a_webhook_gets_the_sentence_and_the_items() -> None:
    with webhook() as (url, got):
        channels_of(Settings.model_validate({"notify": {"webhook_url": url}}))["webhook"](NOTICE)
    expected = {"text": NOTICE.text, "kind": "failed", "over": False, "items": [{"study": "s1", "code": "files-gone"}]}
    assert got == [expected]


def test_a_webhook_that_says_no_is_an_error_that_is_tried_again() -> None:
    with webhook(500) as (url, _), pytest.raises(OSError, match="500"):
        channels_of(Settings.model_validate({"notify": {"webhook_url": url}}))["webhook"](NOTICE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_webhook_that_redirects_has_taken_nothing_and_the_target_is_told(status: int) -> None:
    with webhook(status, Location="/login?next=secret") as (url, got):
        with pytest.raises(OSError, match="not followed") as told:
            channels_of(Settings.model_validate({"notify": {"webhook_url": url}}))["webhook"](NOTICE)
        assert url.removesuffix("/hook") in str(told.value)
        assert "secret" not in str(told.value)
        assert len(got) == 1, "asked once, and nothing was followed"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b'{"ok": false, "error": "channel_not_found"}',
        b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    ],
)
def test_a_webhook_that_complains_under_200_has_taken_nothing(body: bytes) -> None:
    with webhook(200, body) as (url, _), pytest.raises(OSError, match=r"page|failed"):
        channels_of(Settings.model_validate({"notify": {"webhook_url": url}}))["webhook"](NOTICE)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"ok"), (200, b"1"), (202, b""), (204, b""), (200, b'{"ok": true}')]
)
def test_a_webhook_acknowledges_in_few_words(status: int, body: bytes) -> None:
    with webhook(status, body) as (url, got):
        channels_of(Settings.model_validate({"notify": {"webhook_url": url}}))["webhook"](NOTICE)
        assert len(got) == 1


def test_an_address_of_a_webhook_is_not_shown_with_the_settings() -> None:
    settings = Settings.model_validate({"notify": {"webhook_url": "http://h/secret-path"}})
    assert "secret-path" not in repr(settings)


class Smtp(socketserver.StreamRequestHandler):
    """Just enough of a mail server."""

    def handle(self) -> None:
        self.server.mails.append([])  # type: ignore[attr-defined]
        self.wfile.write(b"220 here\r\n")
        data = False
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            self.server.mails[-1].append(line)  # type: ignore[attr-defined]
            if data and line != ".":
                continue
            data = line.upper() == "DATA"
            if line.upper().startswith("RCPT") and "refused@" in line:
                self.wfile.write(b"550 nobody of that name\r\n")
                continue
            self.wfile.write(b"354 go on\r\n" if data else b"221 bye\r\n" if line.upper() == "QUIT" else b"250 ok\r\n")
            if line.upper() == "QUIT":
                return


def test_an_email_has_the_sentence_and_the_addresses() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Smtp) as server:
        server.mails = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        email = Email(
            host="127.0.0.1", port=server.server_address[1], sender="axrad@example.org", to=("a@example.org",)
        )
        mail(email, NOTICE)
        thread.join()
        (lines,) = server.mails  # type: ignore[attr-defined]
    assert "Subject: axrad: exams were set aside after errors" in lines
    assert "To: a@example.org" in lines
    assert any(NOTICE.text in line for line in lines)


def test_without_an_address_there_is_no_channel() -> None:
    assert channels_of(Settings()) == {}


def test_an_email_that_is_refused_for_one_of_several_is_taken_by_the_others_alone() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Smtp) as server:
        server.mails = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in range(3)])
        thread.start()
        email = {"host": "127.0.0.1", "port": server.server_address[1], "sender": "axrad@example.org"}
        both = ["a@example.org", "refused@example.org"]
        with pytest.raises(OSError, match="1 of 2 recipients"):
            mail(Email.model_validate({**email, "to": both}), NOTICE)
        channels = channels_of(Settings.model_validate({"notify": {"email": {**email, "to": both}}}))
        channels["email"](NOTICE)
        with pytest.raises(OSError, match="refused"):
            channels["email-2"](NOTICE)
        thread.join()


def test_a_notice_that_one_channel_did_not_take_is_told_to_that_one_again(ledger: Ledger, tmp_path: Path) -> None:
    house = House(ledger, tmp_path)
    second = Post()
    house.notifier._channels["second"] = second
    second.broken = True
    house.failed("s1")
    assert house.notifier.tick() == []
    assert (len(house.post.notices), len(second.notices)) == (1, 0)
    second.broken = False
    house.now += SEND_AGAIN_S + 1
    assert len(house.notifier.tick()) == 1
    assert (len(house.post.notices), len(second.notices)) == (1, 1)
