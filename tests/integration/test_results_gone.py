"""Results that vanish before they were delivered are made again, as long as that can help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from daemon.ledger.tables import instances, revisions
from daemon.work.result_rerender import MOST_RERENDERS
from tests.support.archives import archive
from tests.support.delivering import Desk, desk


def with_images(at: Desk, revision: str, state: str = "stored") -> None:
    """Give the revision an image that was selected."""
    with at.ledger.write() as connection:
        done = connection.execute(
            instances.insert().values(
                sop_uid="1.2.3", digest="d", study_uid="1.2.1", series_uid="1.2.1.1", sop_class="1.2", exam_uid="1.2.1",
                patient_key="k", path="p", size=1, received_at=at.now, state=state, facts={},
            )
        )  # fmt: skip
        inputs = {"selected": [["1.2.3", "d"]], "context": [done.inserted_primary_key[0]]}
        connection.execute(revisions.update().where(revisions.c.id == revision).values(inputs=inputs))


def stage_of(at: Desk, revision: str) -> tuple[str, str]:
    with at.ledger.read() as connection:
        row: Any = connection.execute(sa.select(revisions).where(revisions.c.id == revision)).one()
        return row.state, row.stage


@pytest.fixture
def at(tmp_path: Path) -> Any:
    with archive() as there:
        made = desk(tmp_path, {"name": "a", "port": there.port})
        yield made
        made.ledger.close()


def vanish(at: Desk) -> str:
    revision = at.result()
    at.file(revision, "page").unlink()
    return revision


def test_they_go_back_to_their_analysis_and_the_delivery_waits(at: Desk) -> None:
    revision = vanish(at)
    with_images(at, revision)
    assert at.deliver(f"{revision}-a") == "results-gone"
    assert stage_of(at, revision) == ("ready", "analyse")
    assert at.state_of() == "ready"
    assert at.row(f"{revision}-a").state == "pending"


def test_a_delivery_that_is_tried_meanwhile_waits_and_asks_for_nothing_twice(at: Desk) -> None:
    revision = vanish(at)
    with_images(at, revision)
    for _ in range(3):
        assert at.deliver(f"{revision}-a") == "results-gone"
        at.wait_until_due(f"{revision}-a")
    assert at.notes().count("results-gone") == 1


def test_a_folder_that_loses_them_again_and_again_is_told_of(at: Desk) -> None:
    revision = vanish(at)
    with_images(at, revision)
    for _ in range(MOST_RERENDERS):
        assert at.deliver(f"{revision}-a") == "results-gone"
        at.wait_until_due(f"{revision}-a")
        with at.ledger.write() as connection:
            connection.execute(revisions.update().values(state="reported", stage="done"))
    assert at.deliver(f"{revision}-a") == "report-rejected"
    assert "not kept any more" in at.row(f"{revision}-a").reason


def test_without_their_images_they_cannot_be_made_again(at: Desk) -> None:
    revision = vanish(at)
    with_images(at, revision, state="purged")
    assert at.deliver(f"{revision}-a") == "report-rejected"
    assert at.row(f"{revision}-a").state == "failed"
