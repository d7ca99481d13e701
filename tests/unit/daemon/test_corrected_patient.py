"""A patient that was corrected in the archive: the exam comes again under another Patient ID after its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Assembly, Pacs, Settings, Spool
from config.schema import Ledger as LedgerSection
from daemon.assembly import Answer
from daemon.audit import trail_path
from daemon.health import standing_checks
from daemon.ledger import Ledger
from daemon.ledger.archive_answers import record_answers
from daemon.ledger.tables import instances, revisions, studies
from daemon.notify.conditions import happened
from pipeline.errors import InputRejected
from tests.support.facts import of_patient
from tests.support.stories import breast_exam
from tests.unit.daemon.test_assembly_ledger import House

exam = breast_exam()
WHOLE = [*exam.images, exam.seg()]
AGAIN = [of_patient(item, "P2") for item in WHOLE]
NEW = AGAIN[0].patient_key
OLD = WHOLE[0].patient_key
ARCHIVE = Pacs(name="archive", ae_title="PACS", host="127.0.0.1", port=104, can=("find",))


@pytest.fixture
def house(ledger: Ledger, ledger_url: str, tmp_path: Path) -> House:
    return House(ledger, Settings(ledger=LedgerSection(url=ledger_url), spool=Spool(path=tmp_path / "spool")))


def reported(house: House) -> None:
    house.arrive(WHOLE)
    house.later(121)
    answer(house, OLD)
    house.later(901)
    house.report(sent=True)
    house.later(3600)


def answer(house: House, key: str) -> None:
    with house.ledger.write() as connection:
        record_answers(connection, "1.2.3", [Answer("archive", house.now, key, key)])
        connection.execute(studies.update().values(dirty=True))


def finding(house: House) -> Any:
    with house.ledger.read() as connection:
        return standing_checks.corrected_patients(connection)


def keys_used(house: House) -> set[str]:
    """Whose objects the newest revision reads."""
    newest = house.revisions()[-1]
    with house.ledger.read() as connection:
        rows = connection.execute(
            sa.select(instances.c.patient_key).where(instances.c.id.in_(newest.inputs["context"])).distinct()
        )
        return set(rows.scalars())


def test_it_is_told_in_status_notices_and_audit_and_changes_nothing_by_itself(house: House) -> None:
    reported(house)
    before = house.study()
    house.arrive(AGAIN, digest="again")
    house.later(121)
    assert finding(house).level == "warn"
    assert f"axrad retry {before.id} --new-revision" in finding(house).sentence
    assert house.kinds().count("patient-corrected") == 1
    with house.ledger.read() as connection:
        assert [h.study for h in happened(connection, "patient_corrected", 0)] == [before.id]
    trail = [json.loads(line) for line in trail_path(house.settings).read_text().splitlines()]
    told = [m for m in trail if m["EventIdentification"]["EventID"]["csd-code"] == "110110"]
    assert len(told) == 1
    assert told[0]["axrad"]["study"] == before.id
    assert house.study().state == "delivered"
    assert len(house.revisions()) == 1
    assert "came again under another Patient ID" in house.study().flagged


def test_one_image_of_it_is_enough_to_be_told(house: House) -> None:
    reported(house)
    house.arrive(AGAIN[0], digest="again")
    house.later(121)
    assert "1 study came again under another Patient ID" in finding(house).text


def test_it_is_told_once_however_often_it_is_judged(house: House) -> None:
    reported(house)
    house.arrive(AGAIN[0], digest="again")
    house.later(5)
    house.arrive(AGAIN[1:], digest="again")
    house.later(121)
    house.do(studies, dirty=True)
    house.later(1)
    assert house.kinds().count("patient-corrected") == 1


def test_a_new_revision_is_made_of_what_came_again(house: House) -> None:
    reported(house)
    house.arrive(AGAIN, digest="again")
    house.later(121)
    assert "a corrected report will be made" in house.retry(new_revision=True)
    house.later(1)
    assert [r.number for r in house.revisions()] == [1, 2]
    assert keys_used(house) == {NEW}
    assert house.study().patient_key == NEW
    assert finding(house).ok
    house.later(3600)
    assert len(house.revisions()) == 2


def test_regions_that_did_not_come_again_stay_with_their_images(house: House) -> None:
    reported(house)
    house.arrive(AGAIN[: len(exam.images)], digest="again")
    house.later(121)
    house.retry(new_revision=True)
    house.later(1)
    assert house.study().state == "ready"
    assert keys_used(house) == {NEW, OLD}


def test_images_of_both_identities_are_held(house: House) -> None:
    reported(house)
    house.arrive(AGAIN[0], digest="again")
    house.later(121)
    house.retry(new_revision=True)
    house.later(1)
    assert (house.study().state, house.study().reason_code) == ("held", "identity-changes")


def test_an_operator_may_keep_the_identity_that_there_was(house: House) -> None:
    reported(house)
    house.arrive(AGAIN, digest="again")
    house.later(121)
    assert "keeps the Patient ID" in house.retry(accept_identity=True)
    house.later(121)
    assert finding(house).ok
    assert house.study().state == "delivered"
    assert house.kinds().count("patient-corrected") == 1


def test_a_study_that_did_not_come_again_has_nothing_to_accept(house: House) -> None:
    reported(house)
    with pytest.raises(InputRejected, match="not held"):
        house.retry(accept_identity=True)


@pytest.mark.parametrize("follows", [False, True])
def test_where_the_archive_confirms_it_the_setting_decides(house: House, follows: bool) -> None:
    reported(house)
    house.settings = house.settings.model_copy(
        update={"pacs": (ARCHIVE,), "assembly": Assembly(follow_corrections=follows)}
    )
    house.arrive(AGAIN, digest="again")
    house.later(11)
    assert len(house.revisions()) == 1
    answer(house, NEW)
    house.later(121)
    if follows:
        assert len(house.revisions()) == 2
        assert keys_used(house) == {NEW}
        assert "patient-followed" in house.kinds()
        assert finding(house).ok
    else:
        assert (house.study().state, house.study().reason_code) == ("held", "patient-corrected")
        house.retry(new_revision=True)
        house.later(121)
        assert keys_used(house) == {NEW}


def test_an_archive_that_has_the_old_identity_confirms_nothing(house: House) -> None:
    reported(house)
    house.settings = house.settings.model_copy(
        update={"pacs": (ARCHIVE,), "assembly": Assembly(follow_corrections=True)}
    )
    house.arrive(AGAIN, digest="again")
    house.later(11)
    answer(house, OLD)
    house.later(121)
    assert len(house.revisions()) == 1
    assert not finding(house).ok


def test_a_header_that_was_rewritten_in_all_else_is_no_correction(house: House) -> None:
    reported(house)
    house.arrive([replace(item, tags={**item.tags, "StationName": "X"}) for item in WHOLE], digest="again")
    house.later(121)
    assert finding(house).ok
    with house.ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(revisions)).scalar_one() == 1
