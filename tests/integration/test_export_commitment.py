"""Storage commitment as user: reports at once, on an association of their own, in parts, late, wrong and never."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.indexing.indexer import index_once
from daemon.spool import Spool
from tests.support.archives import Archive, archive, report_on, report_to
from tests.support.delivering import Desk, desk
from tests.support.listening import listening

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Any]:
    """Makes the desk for an archive; its delivery is `r1-1-a`."""
    made: list[Desk] = []

    def make(there: Archive, **more: Any) -> Desk:
        made.append(desk(tmp_path, {"name": "a", "port": there.port, "proof": "commit", **more}))
        made[0].result()
        return made[0]

    yield make
    for one in made:
        one.ledger.close()


def deliver_without_staying(at: Desk, monkeypatch: pytest.MonkeyPatch) -> str:
    """An archive that reports elsewhere is not waited for."""
    monkeypatch.setattr("daemon.work.deliver._Delivery.commitment_stay_s", 0.0)
    return at.deliver("r1-1-a")


def hear(at: Desk, transaction: str, committed: list[Any], failed: list[Any] | None = None) -> None:
    """A report as it comes from the journal of the listener."""
    from daemon.ledger.commitments import take_report

    with at.ledger.write() as connection:
        take_report(connection, transaction, [u for _, u in committed], [u for _, u in failed or ()], at.now)


def test_a_report_hours_later_at_our_listener_makes_it_delivered(
    at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive() as there, listening(tmp_path / "listener") as ours:
        here = at(there)
        assert deliver_without_staying(here, monkeypatch) == ""
        row = here.row("r1-1-a")
        ((transaction, items),) = there.asked
        assert (row.state, row.transaction_uid) == ("stored", transaction)
        assert {uid for _, uid in items} == there.stored
        assert here.state_of() == "reported"
        here.now += 5 * 3600
        assert report_to(ours.port, transaction, items) == 0
        index_once(here.ledger, Spool(ours.root), here.now)
    row = here.row("r1-1-a")
    assert (row.state, row.proof) == ("delivered", "storage commitment")
    assert here.state_of() == "delivered"


def test_a_report_on_the_association_on_which_we_asked_counts_too(at: Any) -> None:
    said: list[int] = []
    reporters: list[threading.Thread] = []

    def commit_here(there: Archive, transaction: str, items: list[tuple[str, str]]) -> int:
        reporters.append(threading.Timer(0.1, lambda: said.append(report_on(there.association, transaction, items))))
        reporters[-1].start()
        return 0

    with archive(commits=commit_here) as there:
        here = at(there)
        assert here.deliver("r1-1-a") == ""
        reporters[0].join()
    assert said == [0]
    assert here.row("r1-1-a").state == "delivered"


def test_a_report_on_our_association_before_the_answer_to_our_request_is_heard(at: Any) -> None:
    def report_first(there: Archive, transaction: str, items: list[tuple[str, str]]) -> int:
        with contextlib.suppress(RuntimeError):  # the association is gone by then
            report_on(there.association, transaction, items)
        return 0

    with archive(commits=report_first) as there:
        here = at(there)
        assert here.deliver("r1-1-a") == ""
    assert here.row("r1-1-a").state == "delivered"


def test_a_report_elsewhere_before_the_answer_to_our_request_is_not_lost(at: Any) -> None:
    """It is matched by what was written down before we asked."""
    here: Desk

    def commit_first(there: Archive, transaction: str, items: list[tuple[str, str]]) -> int:
        hear(here, transaction, items)
        return 0

    with archive(commits=commit_first) as there:
        here = at(there)
        assert here.deliver("r1-1-a") == ""
    assert here.row("r1-1-a").state == "delivered"


def test_a_report_in_two_parts_is_complete_with_the_second(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive() as there:
        here = at(there)
        deliver_without_staying(here, monkeypatch)
    ((transaction, items),) = there.asked
    hear(here, transaction, items[:1])
    assert here.row("r1-1-a").state == "stored"
    hear(here, transaction, items[1:])
    assert here.row("r1-1-a").state == "delivered"


def test_committed_in_part_is_not_delivered_and_the_rest_is_sent_again(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive() as there:
        here = at(there)
        deliver_without_staying(here, monkeypatch)
        (first, items) = there.asked[0]
        # The journal has what was committed and what was not on lines of their own.
        hear(here, first, items[:1])
        hear(here, first, [], items[1:])
        row = here.row("r1-1-a")
        assert row.state == "pending"
        assert "did not commit to page" in row.reason
        here.wait_until_due("r1-1-a")
        deliver_without_staying(here, monkeypatch)
        assert [uid for uid, _ in there.received[2:]] == [items[1][1]]
        second, again = there.asked[1]
        assert second != first
        hear(here, second, again)
    assert here.row("r1-1-a").state == "delivered"


def test_what_is_never_reported_is_asked_for_again_and_not_sent_again(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive() as there:
        here = at(there, commit_timeout_s=3600)
        deliver_without_staying(here, monkeypatch)
        assert here.due() == []
        here.now += 3601
        assert here.due() == ["r1-1-a"]
        deliver_without_staying(here, monkeypatch)
        assert len(there.received) == 2
        assert len(there.asked) == 2
        row = here.row("r1-1-a")
        assert (row.state, row.proof_asks) == ("stored", 2)


def test_a_late_report_on_the_first_request_counts_after_the_second(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive() as there:
        here = at(there, commit_timeout_s=3600)
        deliver_without_staying(here, monkeypatch)
        here.now += 3601
        deliver_without_staying(here, monkeypatch)
    hear(here, *there.asked[0])
    assert here.row("r1-1-a").state == "delivered"


def test_a_report_on_an_earlier_sending_says_nothing_of_a_later_one(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive() as there:
        here = at(there)
        deliver_without_staying(here, monkeypatch)
        first, items = there.asked[0]
        hear(here, first, [], items)
        here.wait_until_due("r1-1-a")
        deliver_without_staying(here, monkeypatch)
        hear(here, first, items)
    assert here.row("r1-1-a").state == "stored"


def test_a_report_on_nothing_of_ours_changes_nothing(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive() as there:
        here = at(there)
        deliver_without_staying(here, monkeypatch)
    before = here.row("r1-1-a")
    hear(here, "2.25.1", there.asked[0][1])
    assert here.row("r1-1-a") == before


def test_a_request_that_is_refused_leaves_the_objects_stored(at: Any) -> None:
    with archive(commits=lambda *_: 0x0110) as there:
        here = at(there)
        assert here.deliver("r1-1-a") == "object-not-taken"
        row = here.row("r1-1-a")
        assert row.state == "stored"
        assert "refuses the request for storage commitment" in row.reason
        here.wait_until_due("r1-1-a")
        here.deliver("r1-1-a")
        assert len(there.received) == 2


def test_an_archive_that_never_commits_ends_as_a_dead_letter_and_may_still_report(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from daemon.ledger.deliveries import dead_letters

    with archive() as there:
        here = at(there, commit_timeout_s=40000, give_up_days=1)
        for _ in range(3):
            assert deliver_without_staying(here, monkeypatch) == ""
            here.wait_until_due("r1-1-a")
        assert deliver_without_staying(here, monkeypatch) == "object-not-taken"
        assert (len(there.received), len(there.asked)) == (2, 3)
    assert here.row("r1-1-a").state == "failed"
    with here.ledger.read() as connection:
        (letter,) = dead_letters(connection)
    assert letter["destination"] == "a"
    assert letter["reason"] == "given up after 1.4 days: a does not report on storage commitment"
    hear(here, *there.asked[0])
    assert here.row("r1-1-a").state == "delivered"
    assert here.state_of() == "delivered"


def test_an_archive_that_is_down_when_asked_again_was_sent_the_objects_all_the_same(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive() as there:
        here = at(there, commit_timeout_s=3600)
        deliver_without_staying(here, monkeypatch)
    here.wait_until_due("r1-1-a")
    assert here.deliver("r1-1-a") == "peer-unreachable"
    assert here.row("r1-1-a").state == "stored"
    hear(here, *there.asked[0])
    assert here.row("r1-1-a").state == "delivered"
