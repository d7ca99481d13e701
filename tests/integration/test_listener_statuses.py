"""Every answer that the documents name, over a socket: its status, one line in the log, nothing of the data set."""

from __future__ import annotations

import re
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.schema import Settings
from daemon.listener import contexts, statuses
from daemon.listener.acceptor import Acceptor
from daemon.listener.association_slots import Slots
from daemon.listener.contexts import COMMITMENT
from daemon.spool import Spool, read_journals
from tests.support.dimse import EXPLICIT_LE, IMPLICIT_LE, MR_IMAGE, encoded, mr_image, p_data_tf, pdv, store_command
from tests.support.line import RELEASE_RQ, Line, rq_for
from tests.support.listening import VERIFICATION

ROOT = Path(__file__).resolve().parents[2]
DEFLATED = "1.2.840.10008.1.2.1.99"
LIMIT = 100_000


@dataclass
class Here:
    """A listener inside the test, so that its surroundings can be made to fail."""

    port: int
    spool: Spool
    acceptor: Acceptor


@contextmanager
def accepting(root: Path, **sections: Any) -> Iterator[Here]:
    listen = {
        "port": 0,
        "acceptors": 1,
        "durability": "none",
        "max_instance_bytes": LIMIT,
        **sections.pop("listen", {}),
    }
    spool = {"path": root, "warn_free_bytes": 0, "refuse_free_bytes": 0, **sections.pop("spool", {})}
    settings = Settings.model_validate({"listen": listen, "spool": spool, "audit": {"enabled": False}, **sections})
    contexts.supported()
    stop = threading.Event()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        slots = Slots.create(settings.listen.max_associations, settings.listen.max_associations_per_peer)
        acceptor = Acceptor(settings, listening, slots, 1)
        thread = threading.Thread(target=acceptor.run, args=(stop,))
        thread.start()
        try:
            yield Here(listening.getsockname()[1], Spool(root), acceptor)
        finally:
            stop.set()
            thread.join()
            slots.close()


@dataclass(frozen=True)
class Sent:
    """What a sender asks for and sends; by default a good image."""

    uid: str = "1.2.3"
    sop_class: str = MR_IMAGE
    data: bytes | None = encoded(mr_image("1.2.3"))
    context: tuple[str, str] = (MR_IMAGE, EXPLICIT_LE)
    roles: tuple[int, int] | None = None
    trouble: Callable[[Here, pytest.MonkeyPatch], None] = lambda here, monkeypatch: None


def disk_is_full(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here.acceptor._resources.disk, "refuses", lambda: True)


def nothing_can_be_written(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here.spool, "incoming", "")
    Path(here.spool.root / "incoming").rename(here.spool.root / "elsewhere")


def nobody_thought_of_this(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def choke(head: bytes, *_: object, **__: object) -> None:
        raise KeyError(head.decode("latin-1"))

    monkeypatch.setattr("daemon.listener.data_set_uids.identity", choke)


def without(keyword: str) -> bytes:
    image = mr_image()
    delattr(image, keyword)
    return encoded(image)


def deflated(raw: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(raw) + squeeze.flush()


BIG = encoded(mr_image("1.2.3", pixels=bytes(LIMIT - 5000)))
CT = "1.2.840.10008.5.1.4.1.1.2"
CASES: list[tuple[str, int, Sent]] = [
    ("a good image", 0x0000, Sent()),
    ("a deflated image", 0x0000, Sent(data=deflated(BIG), context=(MR_IMAGE, DEFLATED))),
    ("less free than the lower watermark", 0xA700, Sent(trouble=disk_is_full)),
    ("a spool that cannot be written", 0xA701, Sent(trouble=nothing_can_be_written)),
    ("more than the limit", 0xA702, Sent(data=encoded(mr_image(pixels=bytes(2 * LIMIT))))),
    ("another instance than was announced", 0xA900, Sent(uid="1.2.4")),
    ("another instance, deflated", 0xA900, Sent(uid="1.2.4", data=deflated(BIG), context=(MR_IMAGE, DEFLATED))),
    ("another class than was announced", 0xA901, Sent(data=encoded(mr_image(sop_class_uid=CT)))),
    ("no data elements", 0xC000, Sent(data=b"GIF89a" * 20)),
    ("explicit where implicit was agreed", 0xC000, Sent(data=BIG, context=(MR_IMAGE, IMPLICIT_LE))),
    ("implicit where explicit was agreed", 0xC000, Sent(data=encoded(mr_image(), IMPLICIT_LE))),
    ("not deflated where that was agreed", 0xC000, Sent(context=(MR_IMAGE, DEFLATED))),
    ("a request without a data set", 0xC001, Sent(data=None)),
    ("a data set of nothing", 0xC001, Sent(data=b"")),
    ("no instance UID inside", 0xC002, Sent(data=without("SOPInstanceUID"))),
    ("no class UID inside", 0xC002, Sent(data=without("SOPClassUID"))),
    ("a name where the instance UID must be", 0x0117, Sent(uid="SECRET^PERSON")),
    ("a path where the instance UID must be", 0x0117, Sent(uid="../../../etc/passwd")),
    ("an instance UID of 65 characters", 0x0117, Sent(uid="1." * 32 + "1")),
    ("no instance UID", 0x0117, Sent(uid="")),
    ("a name where the class UID must be", 0x0118, Sent(sop_class="SECRET^PERSON")),
    ("a class that is not the context's", 0x0122, Sent(sop_class=CT)),
    ("storing where echoing was agreed", 0x0122, Sent(sop_class=VERIFICATION, context=(VERIFICATION, EXPLICIT_LE))),
    ("storing as one who is to be stored to", 0x0124, Sent(context=(COMMITMENT, EXPLICIT_LE), roles=(0, 1))),
    ("something nobody thought of", 0x0110, Sent(trouble=nobody_thought_of_this)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "sent"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_answer_has_its_status_and_one_line_without_anything_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, sent: Sent
) -> None:
    with accepting(tmp_path) as here, Line(here) as line:
        line.send(rq_for(*sent.context, roles=sent.roles))
        assert line.pdu()[0] == 2
        sent.trouble(here, monkeypatch)
        with capture_logs() as logs:
            command = store_command(sent.uid, sop_class_uid=sent.sop_class, data=sent.data is not None)
            line.send(p_data_tf(pdv(1, 3, command)))
            if sent.data is not None:
                for start in range(0, len(sent.data), 60_000):
                    line.send(p_data_tf(pdv(1, 0, sent.data[start : start + 60_000])))
                line.send(p_data_tf(pdv(1, 2, b"")))
            answer = line.answer()
        assert struct.unpack("<H", answer[0x0900])[0] == status
        assert "SECRET" not in f"{logs}{answer}".upper()
        told = [refusal.reason for refusal in statuses.ALL if refusal.status == status]
        assert [entry["reason"] for entry in logs] == told
        assert len([e for e in read_journals(tmp_path, {}) if e.event == "refused"]) == len(told)
        monkeypatch.undo()
        line.send(RELEASE_RQ)
        assert line.pdu()[0] == 6


def test_every_status_that_the_documents_name_is_sent_by_a_test_and_the_other_way_round() -> None:
    rows = [re.findall(r"^\| ([0-9A-F]{4}) \|", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
            for page in ("intake.md", "conformance.md")]  # fmt: skip
    assert {int(status, 16) for status in rows[0]} == {status for _, status, _ in CASES}
    assert sorted(rows[0]) == sorted(rows[1])


KNOWN = {"ae_title": "KNOWN", "networks": ["127.0.0.0/8"]}
FAR = {"ae_title": "FAR", "networks": ["10.0.0.0/8"]}
REJECTIONS: list[tuple[statuses.Rejection, dict[str, Any], int]] = [
    (statuses.UNKNOWN_PEER, {"peer": [KNOWN]}, 0),
    (statuses.UNKNOWN_PEER, {"peer": [FAR]}, 0),
    (statuses.NOT_ITS_CERTIFICATE, {"peer": [{"ae_title": "HOSTILE", "certificates": ["mr1.example.org"]}]}, 0),
    (statuses.OTHER_CALLED_TITLE, {"peer": [{"ae_title": "HOSTILE", "called_ae": "ARCHIVE"}]}, 0),
    (statuses.TOO_MANY, {"listen": {"max_associations": 1}}, 1),
    (statuses.TOO_MANY_OF_PEER, {"listen": {"max_associations_per_peer": 2}}, 2),
    (statuses.CONGESTED, {"spool": {"refuse_free_bytes": 2**62}}, 0),
]


@pytest.mark.parametrize(("rejection", "sections", "standing"), REJECTIONS)
def test_each_association_that_is_refused_hears_why_and_is_one_line_in_the_log(
    tmp_path: Path, rejection: statuses.Rejection, sections: dict[str, Any], standing: int
) -> None:
    with accepting(tmp_path, **sections) as here, ExitStack() as stack:
        for _ in range(standing):
            stack.enter_context(Line(here).associated())
        with capture_logs() as logs, Line(here) as line:
            line.send(rq_for(MR_IMAGE, EXPLICIT_LE))
            assert line.pdu() == rejection.pdu
            assert line.is_closed_in_the_end()
        # The hourly word on a disk that is short is about no association.
        told = [e for e in logs if e["log_level"] != "info" and e["event"] != "disk space is low"]
        assert [entry["reason"] for entry in told] == [rejection.reason]


def test_every_rejection_that_the_documents_name_is_sent_by_a_test() -> None:
    page = (ROOT / "docs" / "intake.md").read_text(encoding="utf-8")
    table = page[page.index("## Answers to association requests") : page.index("## Limits")]
    assert set(re.findall(r"\| `([a-z-]+)` \|", table)) == {rejection.reason for rejection, _, _ in REJECTIONS}


@pytest.mark.parametrize("title", [b"EVIL\nLINE", b"EVIL\r\x1b[31m", b"\0" * 16, b" " * 16, b"\xff\xfe\xfd"])
def test_a_calling_ae_title_that_is_none_makes_no_line_of_its_own(tmp_path: Path, title: bytes, capfd: Any) -> None:
    """The log of people who read it in a terminal is not a place for a stranger to write in."""
    peers = [{"ae_title": "KNOWN", "networks": ["127.0.0.0/8"]}]
    with accepting(tmp_path, peer=peers) as here, Line(here) as line:
        with capture_logs() as logs:
            line.send(rq_for(MR_IMAGE, EXPLICIT_LE, ae_title=title))
            answer = line.pdu()
            assert not answer or answer[0] in (3, 7)
            assert line.is_closed_in_the_end()
        assert len(logs) <= 1
        for entry in logs:
            assert str(entry.get("calling_ae", "")).isprintable()
