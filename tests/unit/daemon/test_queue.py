"""Claims: one owner at a time, attempts counted before the work, late writers refused."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from daemon.ledger import Ledger
from daemon.ledger.claims import LeaseLost, backoff_s, claim, release, renew, to_announce, update
from daemon.ledger.rows import RevisionRow, rows_where
from daemon.ledger.tables import revisions, studies

NOW = 1_000_000.0


@pytest.fixture
def revision(ledger: Ledger) -> str:
    with ledger.write() as connection:
        connection.execute(
            studies.insert().values(
                id="s1",
                study_uid="1.2",
                state="ready",
                patient_key="k",
                first_arrival_at=NOW,
                last_arrival_at=NOW,
                changed_at=NOW,
            )
        )
        connection.execute(
            revisions.insert().values(
                id="r1",
                study_id="s1",
                number=1,
                input_digest="d",
                inputs={},
                state="ready",
                stage="analyse",
                created_at=NOW,
                next_attempt_at=NOW,
            )
        )
    return "r1"


def take(ledger: Ledger, now: float, owner: str = "a", attempts: int = 3):  # type: ignore[no-untyped-def]
    with ledger.write() as connection:
        return claim(connection, "revision", "r1", owner, now, lease_s=60, attempts=attempts, stage="analyse")


def test_a_revision_is_claimed_by_one_worker_only(ledger: Ledger, revision: str) -> None:
    assert take(ledger, NOW, "a") is not None
    assert take(ledger, NOW + 1, "b") is None


def test_an_expired_lease_can_be_claimed_and_counts_as_an_attempt(ledger: Ledger, revision: str) -> None:
    first = take(ledger, NOW, "a")
    second = take(ledger, NOW + 61, "b")
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.fence > first.fence


def test_who_lost_the_lease_can_no_longer_write(ledger: Ledger, revision: str) -> None:
    first = take(ledger, NOW, "a")
    take(ledger, NOW + 61, "b")
    with pytest.raises(LeaseLost), ledger.write() as connection:
        release(connection, first, state="reported", stage="done")
    with ledger.read() as connection:
        assert connection.execute(sa.select(revisions.c.state)).scalar_one() == "ready"


def test_a_renewed_lease_keeps_others_out(ledger: Ledger, revision: str) -> None:
    held = take(ledger, NOW, "a")
    with ledger.write() as connection:
        renew(connection, held, NOW + 50, 60)
    assert take(ledger, NOW + 100, "b") is None


def test_the_fourth_claim_of_three_says_that_it_is_exhausted(ledger: Ledger, revision: str) -> None:
    claims = [take(ledger, NOW + 61 * i, "a") for i in range(4)]
    assert [c.exhausted for c in claims] == [False, False, False, True]


def test_work_that_waits_for_its_next_attempt_is_not_due(ledger: Ledger, revision: str) -> None:
    held = take(ledger, NOW)
    with ledger.write() as connection:
        release(connection, held, {"next_attempt_at": NOW + 30})
    assert take(ledger, NOW + 29, "b") is None
    with ledger.read() as connection:
        assert rows_where(connection, RevisionRow, to_announce("revision", NOW + 29)) == []
        waiting = rows_where(connection, RevisionRow, to_announce("revision", NOW + 31))
        assert [row.id for row in waiting] == ["r1"]


def test_finished_work_is_never_claimed_again(ledger: Ledger, revision: str) -> None:
    held = take(ledger, NOW)
    with ledger.write() as connection:
        update(connection, held, state="running")
        release(connection, held, state="reported", stage="done")
    assert take(ledger, NOW + 1000, "b") is None


def test_backoff_doubles_and_is_bounded_at_an_hour() -> None:
    assert [backoff_s(10, n) for n in (1, 2, 3)] == [10, 20, 40]
    assert backoff_s(10, 50) == 3600
