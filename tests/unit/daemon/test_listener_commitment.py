"""Storage commitment as provider: what is called safe, and reports that are tried until they arrive."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset

from config.schema import Listen, Settings
from config.schema import Spool as SpoolSection
from daemon.listener import commitment
from daemon.listener.commitment import RoundOutcome, Transaction, requests
from daemon.spool import Description, JournalWriter, Spool, read_journals
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
HOUR = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(listen=Listen(), spool=SpoolSection(path=tmp_path))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def keep(spool: Spool, uid: str) -> Path:
    return spool.root / spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE), encoded(mr_image(uid))).path


def items(*pairs: tuple[str, str]) -> list[Dataset]:
    made = []
    for sop_class, uid in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = uid
        made.append(item)
    return made


def asked(*pairs: tuple[str, str], uid: str = "1.9.9", action: int = 1) -> Any:
    information = Dataset()
    information.TransactionUID = uid
    information.ReferencedSOPSequence = items(*pairs)
    return SimpleNamespace(action_type=action, action_information=information)


class Peer:
    """Takes reports, or does not answer."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.reports: list[tuple[int, Dataset]] = []

    def __call__(self, transaction: Transaction, event_type: int, information: Dataset) -> bool:
        self.reports.append((event_type, information))
        return self.answers


def test_instances_that_are_here_whole_are_safe(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    keep(spool, "1.2.4")
    assert commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3"), (MR_IMAGE, "1.2.4")), "PACS", "10.0.0.1") == 0
    peer = Peer()
    assert commitment.send_due_reports(settings, send=peer) == RoundOutcome(reported=1)
    ((event_type, information),) = peer.reports
    assert event_type == commitment.ALL_SAFE
    assert information.TransactionUID == "1.9.9"
    assert [i.ReferencedSOPInstanceUID for i in information.ReferencedSOPSequence] == ["1.2.3", "1.2.4"]
    assert "FailedSOPSequence" not in information
    assert list(spool.commitment.iterdir()) == []


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_each_way_of_not_being_safe_has_its_reason(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    damage(keep(spool, "1.2.4"))
    wanted = [(MR_IMAGE, "1.2.3"), (MR_IMAGE, "1.2.4"), (MR_IMAGE, "1.2.5"), (CT_IMAGE, "1.2.3")]
    assert commitment.accept_request(spool, asked(*wanted), "PACS", "10.0.0.1") == 0
    peer = Peer()
    commitment.send_due_reports(settings, send=peer)
    ((event_type, information),) = peer.reports
    assert event_type == commitment.SOME_FAILED
    assert [i.ReferencedSOPInstanceUID for i in information.ReferencedSOPSequence] == ["1.2.3"]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in information.FailedSOPSequence] == [
        ("1.2.4", commitment.PROCESSING_FAILURE),
        ("1.2.5", commitment.NO_SUCH_INSTANCE),
        ("1.2.3", commitment.CLASS_CONFLICT),
    ]


def test_a_report_that_nobody_takes_is_tried_again_with_growing_pauses_and_arrives_hours_later(
    spool: Spool, settings: Settings
) -> None:
    keep(spool, "1.2.3")
    commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), "PACS", "10.0.0.1")
    (path,) = spool.commitment.glob("*.json")
    start = Transaction.from_json(path.read_bytes()).received
    away = Peer(answers=False)
    tries = []
    for minute in range(0, 5 * 60):
        before = len(away.reports)
        assert commitment.send_due_reports(settings, now=start + 60.0 * minute, send=away) == RoundOutcome(waiting=1)
        if len(away.reports) > before:
            tries.append(minute)
    assert tries[:4] == [0, 1, 3, 7]
    assert max(b - a for a, b in itertools.pairwise(tries)) == 60
    assert commitment.send_due_reports(settings, now=start + 6 * HOUR, send=Peer()) == RoundOutcome(reported=1)


def test_what_is_named_twice_is_reported_once_and_what_is_asked_twice_too(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    for _ in range(2):
        assert (
            commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3"), (MR_IMAGE, "1.2.3")), "PACS", "10.0.0.1") == 0
        )
    # Another AE, and another list, are other requests.
    assert commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), "OTHER", "10.0.0.1") == 0
    assert commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3"), (MR_IMAGE, "1.2.4")), "PACS", "10.0.0.1") == 0
    peer = Peer()
    assert commitment.send_due_reports(settings, send=peer) == RoundOutcome(reported=3)
    assert [len(i.ReferencedSOPSequence) for _, i in peer.reports] == [1, 1, 1]


def test_a_retry_waits_no_longer_because_the_clock_was_put_back(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), "PACS", "10.0.0.1")
    (path,) = spool.commitment.glob("*.json")
    start = Transaction.from_json(path.read_bytes()).received
    assert commitment.send_due_reports(settings, now=start + 9 * HOUR, send=Peer(answers=False)) == RoundOutcome(
        waiting=1
    )
    assert commitment.send_due_reports(settings, now=start, send=Peer()) == RoundOutcome(reported=1)


def test_the_longest_list_is_worked_through_and_a_longer_one_refused(
    spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_ITEMS", 2000)
    keep(spool, "1.2.0")
    every = [(MR_IMAGE, f"1.2.{n}") for n in range(requests.MAX_ITEMS)]
    assert commitment.accept_request(spool, asked(*every), "PACS", "10.0.0.1") == 0
    peer = Peer()
    assert commitment.send_due_reports(settings, send=peer) == RoundOutcome(reported=1)
    ((_, information),) = peer.reports
    assert (len(information.ReferencedSOPSequence), len(information.FailedSOPSequence)) == (1, requests.MAX_ITEMS - 1)
    assert (
        commitment.accept_request(spool, asked(*every, (MR_IMAGE, "1.3")), "PACS", "10.0.0.1")
        == commitment.INVALID_ARGUMENT
    )


def test_after_a_week_a_report_is_given_up(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), "PACS", "10.0.0.1")
    (path,) = spool.commitment.glob("*.json")
    start = Transaction.from_json(path.read_bytes()).received
    away = Peer(answers=False)
    assert commitment.send_due_reports(settings, now=start + 8 * 24 * HOUR, send=away) == RoundOutcome(given_up=1)
    assert list(spool.commitment.iterdir()) == []


def test_two_who_work_at_once_report_once(spool: Spool, settings: Settings) -> None:
    keep(spool, "1.2.3")
    commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), "PACS", "10.0.0.1")
    inner: list[RoundOutcome] = []

    def send(transaction: Transaction, event_type: int, information: Dataset) -> bool:
        inner.append(commitment.send_due_reports(settings, send=Peer()))
        return True

    assert commitment.send_due_reports(settings, send=send) == RoundOutcome(reported=1)
    assert inner == [RoundOutcome()]


def test_only_the_requests_of_one_sender_are_worked_where_that_is_asked(spool: Spool, settings: Settings) -> None:
    for ae in ("ONE", "TWO"):
        commitment.accept_request(spool, asked((MR_IMAGE, "1.2.3")), ae, "10.0.0.1")
    assert commitment.send_due_reports(settings, send=Peer(), only="ONE") == RoundOutcome(reported=1)
    assert commitment.send_due_reports(settings, send=Peer()) == RoundOutcome(reported=1)


def too_deep() -> Any:
    class Deep:
        action_type = 1

        @property
        def action_information(self) -> Dataset:
            raise RecursionError

    return Deep()


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (lambda: asked((MR_IMAGE, "1.2.3"), action=2), commitment.NO_SUCH_ACTION),
        (lambda: asked(), commitment.INVALID_ARGUMENT),
        (lambda: asked((MR_IMAGE, "../../etc/passwd")), commitment.INVALID_ARGUMENT),
        (lambda: asked((MR_IMAGE, "1.2.3"), uid="no uid"), commitment.INVALID_ARGUMENT),
        (lambda: SimpleNamespace(action_type=1, action_information=Dataset()), commitment.INVALID_ARGUMENT),
        (too_deep, commitment.INVALID_ARGUMENT),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_request_that_makes_no_sense_is_refused_and_leaves_nothing(
    spool: Spool, event: Callable[[], Any], status: int
) -> None:
    assert commitment.accept_request(spool, event(), "PACS", "10.0.0.1") == status
    assert list(spool.commitment.iterdir()) == []


def test_a_report_on_what_we_asked_of_others_is_in_the_journal(spool: Spool) -> None:
    information = Dataset()
    information.TransactionUID = "1.9.9"
    information.ReferencedSOPSequence = items(*((MR_IMAGE, f"1.2.{n}") for n in range(700)))
    information.FailedSOPSequence = items((MR_IMAGE, "1.3.1"))
    journal = JournalWriter(spool.journal, "PACS", "10.0.0.1")
    assert commitment.record_report(SimpleNamespace(event_information=information), journal) == 0
    journal.close("released")
    entries = [e for e in read_journals(spool.root, {}) if e.event == "commitment"]
    assert {e.transaction_uid for e in entries} == {"1.9.9"}
    assert [uid for e in entries for uid in e.committed] == [f"1.2.{n}" for n in range(700)]
    assert [uid for e in entries for uid in e.failed] == ["1.3.1"]
