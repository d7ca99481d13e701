"""What axrad itself has written never counts as a region when it comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from daemon.ledger import set_aside, views
from daemon.ledger.engine import Ledger
from daemon.ledger.instances import Arrival, mark_lost, record
from daemon.ledger.tables import deliveries, instances, revisions, sent_objects, studies
from daemon.ledger.verdicts import stored_of
from pipeline.catalog import InstanceFacts
from tests.support.facts import image, seg

NOW = 1_000_000.0
IMAGES = [image("1.2.3.1", n) for n in range(1, 3)]


def arrive(ledger: Ledger, *facts: InstanceFacts, at: float = NOW) -> None:
    for item in facts:
        uid = item.ref.sop_instance_uid
        with ledger.write() as connection:
            record(connection, Arrival(uid, "d", f"instances/{uid}.dcm", 10, at, facts=item))


@pytest.fixture
def sent(ledger: Ledger) -> Ledger:
    """A ledger that says that a segmentation 1.2.3.900.1 was sent, and kept by an archive as 1.2.3.900.2."""
    arrive(ledger, *IMAGES)
    with ledger.write() as connection:
        study_id = connection.execute(sa.select(studies.c.id)).scalar_one()
        connection.execute(
            revisions.insert().values(
                id="r",
                study_id=study_id,
                number=1,
                input_digest="x",
                inputs={},
                state="reported",
                stage="done",
                created_at=NOW,
                next_attempt_at=NOW,
            )
        )
        connection.execute(
            deliveries.insert().values(
                id="d",
                revision_id="r",
                destination="pacs",
                state="delivered",
                objects=["union_nodes"],
                created_at=NOW,
                next_attempt_at=NOW,
            )
        )
        connection.execute(
            sent_objects.insert().values(
                delivery_id="d",
                kind="union_nodes",
                sop_class_uid="1.2",
                sop_instance_uid="1.2.3.900.1",
                coerced_uid="1.2.3.900.2",
                status=0,
                at=NOW,
            )
        )
        connection.execute(studies.update().values(dirty=False))
    return ledger


def outcome(ledger: Ledger, uid: str) -> tuple[str, bool, float]:
    """The state of an instance, and whether its study was woken."""
    with ledger.read() as connection:
        state = connection.execute(sa.select(instances.c.state).where(instances.c.sop_uid == uid)).scalar_one()
        study = connection.execute(sa.select(studies)).one()
    return state, bool(study.dirty), study.last_arrival_at


@pytest.mark.parametrize("uid", ["1.2.3.900.1", "1.2.3.900.2"])
def test_what_was_sent_is_ours_though_its_mark_is_gone(sent: Ledger, uid: str) -> None:
    arrive(sent, seg(IMAGES, uid=uid), at=NOW + 500)
    assert outcome(sent, uid) == ("ignored", False, NOW)


def test_what_has_the_mark_is_ours_though_the_ledger_knows_of_nothing(ledger: Ledger) -> None:
    arrive(ledger, *IMAGES)
    with ledger.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    arrive(ledger, replace(seg(IMAGES, own_mark="ours"), ours=True), at=NOW + 500)
    assert outcome(ledger, "1.2.3.900.1") == ("ignored", False, NOW)


def test_a_copy_that_a_reader_changed_is_the_readers(sent: Ledger) -> None:
    arrive(sent, seg(IMAGES, own_mark="changed"), at=NOW + 500)
    assert outcome(sent, "1.2.3.900.1") == ("stored", True, NOW + 500)


def test_a_readers_own_segmentation_counts_beside_ours(sent: Ledger) -> None:
    arrive(sent, seg(IMAGES, uid="1.2.3.901.1"), at=NOW + 500)
    assert outcome(sent, "1.2.3.901.1") == ("stored", True, NOW + 500)


def test_what_came_back_is_not_counted_among_what_was_received(ledger: Ledger) -> None:
    drawn = seg(IMAGES, uid="1.2.3.800.1")
    arrive(ledger, *IMAGES, drawn, replace(seg(IMAGES, own_mark="ours"), ours=True))
    with ledger.read() as connection:
        assert [s["instances"] for s in views.list_studies(connection)] == [3]
        assert [a["instances"] for a in views.arrivals(connection, IMAGES[0].ref.study_uid)] == [3]


def test_what_came_back_counts_as_a_result_when_its_file_is_gone_and_when_it_comes_again(sent: Ledger) -> None:
    uid = "1.2.3.900.1"
    arrive(sent, seg(IMAGES, uid=uid))
    with sent.write() as connection:
        lost = connection.execute(sa.select(instances.c.id).where(instances.c.sop_uid == uid)).scalar_one()
        mark_lost(connection, [lost], NOW + 1)
        connection.execute(studies.update().values(dirty=False))
    with sent.read() as connection:
        assert [s["instances"] for s in views.list_studies(connection)] == [2]
    arrive(sent, seg(IMAGES, uid=uid), at=NOW + 500)
    assert outcome(sent, uid) == ("ignored", False, NOW)


def test_a_result_that_was_set_aside_and_is_read_again_is_a_result_still(sent: Ledger) -> None:
    uid = "1.2.3.900.1"
    arrive(sent, seg(IMAGES, uid=uid))
    poison = set_aside.SetAsideFile("k", uid, "d", "SIGSEGV", 2, "index")
    with sent.write() as connection:
        set_aside.record(connection, poison, NOW + 1)
    assert outcome(sent, uid)[0] == "unreadable"
    with sent.read() as connection:
        assert [s["instances"] for s in views.list_studies(connection)] == [2]
        assert len(stored_of(connection, IMAGES[0].ref.study_uid)) == 2
    with sent.write() as connection:
        assert set_aside.take_up(connection, uid, "d", NOW + 2)
    assert outcome(sent, uid)[0] == "ignored"
