"""Instances enter the ledger once, ROIs find the study of their images, our own results change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from daemon.ledger import Ledger
from daemon.ledger.instances import Arrival, is_known, mark_lost, record
from daemon.ledger.tables import instances, studies
from daemon.ledger.verdicts import stored_of
from pipeline.catalog import InstanceFacts
from tests.support.facts import image, ours, seg

NOW = 1_000_000.0


def arrive(ledger: Ledger, *facts: InstanceFacts, at: float = NOW, digest: str = "d") -> None:
    for item in facts:
        uid = item.ref.sop_instance_uid
        with ledger.write() as connection:
            record(connection, Arrival(uid, digest, f"instances/{uid}-{digest}.dcm", 10, at, facts=item))


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        return {row.study_uid: row.state for row in connection.execute(sa.select(studies)).all()}


def exam_of(ledger: Ledger, sop_uid: str) -> str:
    with ledger.read() as connection:
        return str(
            connection.execute(sa.select(instances.c.exam_uid).where(instances.c.sop_uid == sop_uid)).scalar_one()
        )


def test_the_first_image_makes_a_study_that_is_assembling(ledger: Ledger) -> None:
    arrive(ledger, image("1.2.3.1", 1))
    assert states(ledger) == {"1.2.3": "assembling"}


def test_the_same_instance_twice_changes_nothing(ledger: Ledger) -> None:
    arrive(ledger, image("1.2.3.1", 1))
    with ledger.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    arrive(ledger, image("1.2.3.1", 1), at=NOW + 50)
    with ledger.read() as connection:
        row = connection.execute(sa.select(studies)).one()
        assert (row.dirty, row.last_arrival_at) == (False, NOW)
        assert len(stored_of(connection, "1.2.3")) == 1


def test_the_same_uid_with_other_data_is_kept_beside_it(ledger: Ledger) -> None:
    arrive(ledger, image("1.2.3.1", 1), digest="one")
    arrive(ledger, image("1.2.3.1", 1), digest="two")
    with ledger.read() as connection:
        assert [s.digest for s in stored_of(connection, "1.2.3")] == ["one", "two"]


def test_a_seg_in_a_study_of_its_own_belongs_to_the_study_of_its_images(ledger: Ledger) -> None:
    slices = [image("1.2.3.1", n) for n in range(3)]
    arrive(ledger, *slices, seg(slices, study="1.9.9"))
    assert states(ledger) == {"1.2.3": "assembling"}
    assert exam_of(ledger, "1.2.3.900.1") == "1.2.3"


def test_a_seg_that_comes_first_waits_under_the_study_that_it_names(ledger: Ledger) -> None:
    slices = [image("1.2.3.1", n) for n in range(3)]
    arrive(ledger, seg(slices, study="1.9.9"))
    assert states(ledger) == {"1.2.3": "assembling"}
    arrive(ledger, *slices, at=NOW + 10)
    assert states(ledger) == {"1.2.3": "assembling"}


def test_a_seg_that_names_no_study_moves_to_its_images_when_they_come(ledger: Ledger) -> None:
    slices = [image("1.2.3.1", n) for n in range(3)]
    drawn = seg(slices, study="1.9.9")
    arrive(ledger, replace(drawn, references=tuple(replace(r, study_uid="") for r in drawn.references)))
    assert states(ledger) == {"1.9.9": "assembling"}
    arrive(ledger, *slices, at=NOW + 10)
    assert states(ledger) == {"1.2.3": "assembling"}
    assert exam_of(ledger, "1.2.3.900.1") == "1.2.3"


def test_our_own_report_coming_back_wakes_nothing(ledger: Ledger) -> None:
    arrive(ledger, image("1.2.3.1", 1))
    with ledger.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    arrive(ledger, ours(), at=NOW + 500)
    with ledger.read() as connection:
        row = connection.execute(sa.select(studies)).one()
    assert (row.dirty, row.last_arrival_at) == (False, NOW)


def test_what_axrad_does_not_use_is_kept_and_makes_no_study(ledger: Ledger) -> None:
    ct = image("1.2.5.1", 1, study="1.2.5")
    arrive(ledger, replace(ct, ref=replace(ct.ref, sop_class_uid="1.2.840.10008.5.1.4.1.1.2"), modality="CT"))
    assert states(ledger) == {}
    with ledger.read() as connection:
        assert connection.execute(sa.select(instances.c.state)).scalar_one() == "ignored"


def test_a_file_that_cannot_be_read_is_accounted_for(ledger: Ledger) -> None:
    with ledger.write() as connection:
        record(connection, Arrival("1.2.3.4", "d", "instances/x.dcm", 10, NOW, note="its header ends too early"))
    with ledger.read() as connection:
        row = connection.execute(sa.select(instances)).one()
    assert (row.state, row.note) == ("unreadable", "its header ends too early")


def test_an_expired_study_comes_back_when_a_seg_arrives(ledger: Ledger) -> None:
    slices = [image("1.2.3.1", n) for n in range(3)]
    arrive(ledger, *slices)
    with ledger.write() as connection:
        connection.execute(studies.update().values(state="expired", dirty=False))
    arrive(ledger, seg(slices), at=NOW + 86400)
    assert states(ledger) == {"1.2.3": "assembling"}


def test_a_lost_instance_that_is_sent_again_is_back(ledger: Ledger) -> None:
    arrive(ledger, image("1.2.3.1", 1))
    with ledger.write() as connection:
        mark_lost(connection, [1], NOW + 1)
        assert not is_known(connection, "1.2.3.1.1", "d")
    arrive(ledger, image("1.2.3.1", 1), at=NOW + 2)
    with ledger.read() as connection:
        assert is_known(connection, "1.2.3.1.1", "d")
        assert connection.execute(sa.select(studies.c.dirty)).scalar_one()


@pytest.mark.parametrize("count", [600])
def test_a_seg_with_more_references_than_one_query_takes_finds_its_study(ledger: Ledger, count: int) -> None:
    slices = [image("1.2.3.1", n) for n in range(count)]
    arrive(ledger, slices[-1])
    arrive(ledger, seg(slices, study="1.9.9"))
    assert exam_of(ledger, "1.2.3.900.1") == "1.2.3"
