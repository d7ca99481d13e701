"""What is cleaned from the spool, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Retention, Settings
from config.schema import Spool as SpoolSection
from daemon.indexing.reconcile import reconcile
from daemon.ledger import Ledger, open_ledger, periodic_jobs, views
from daemon.ledger.engine import note
from daemon.ledger.instances import Arrival, record
from daemon.ledger.states import SETTLED, STUDY
from daemon.ledger.studies import find
from daemon.ledger.tables import events, instances, studies
from daemon.machine import disk_space
from daemon.retention import Cleaned, clean, forgetting
from daemon.spool import Description, Spool
from daemon.work.context import Context
from daemon.work.sweep import sweep
from pipeline.catalog import InstanceFacts
from pipeline.catalog.facts import SegmentFacts
from tests.support.facts import MR, image, ours

DAY = 86400.0
NOW = 1_800_000_000.0
FULL, EMPTY = 0, 10**15


@dataclass
class House:
    ledger: Ledger
    spool: Spool
    settings: Settings

    def keep(self, *facts: InstanceFacts, at: float) -> None:
        for item in facts:
            uid = item.ref.sop_instance_uid
            stored = self.spool.put(Description(MR, uid, "1.2.840.10008.1.2.1", "SCU"), uid.encode())
            with self.ledger.write() as connection:
                record(connection, Arrival(uid, stored.digest, stored.path, 1000, at, facts=item))

    def study(self, uid: str, state: str, age_days: float) -> None:
        """An exam of three images whose last arrival was so many days ago."""
        self.keep(*(image(f"{uid}.1", n, study=uid) for n in range(3)), at=NOW - age_days * DAY)
        with self.ledger.write() as connection:
            connection.execute(studies.update().where(studies.c.study_uid == uid).values(state=state, dirty=False))

    def clean(self, now: float = NOW, **how: Any) -> Cleaned:
        settings = self.settings.model_copy(update={"retention": Retention(**how)})
        return clean(self.ledger, settings, now)

    def states(self) -> dict[str, set[str]]:
        with self.ledger.read() as connection:
            rows = connection.execute(sa.select(instances.c.exam_uid, instances.c.state)).all()
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row.exam_uid, set()).add(row.state)
        return found

    @property
    def files(self) -> int:
        return len(list(self.spool.walk()))


@pytest.fixture
def house(ledger: Ledger, ledger_url: str, tmp_path: Path) -> House:
    settings = Settings(
        ledger=LedgerSection(url=ledger_url), spool=SpoolSection(path=tmp_path / "spool", warn_free_bytes=FULL)
    )
    return House(ledger, Spool(tmp_path / "spool"), settings)


def test_exams_that_are_done_go_by_age_and_younger_ones_stay(house: House) -> None:
    house.study("1.1", "delivered", age_days=31)
    house.study("1.2", "delivered", age_days=29)
    assert house.clean() == Cleaned(3, 3000)
    assert house.states() == {"1.1": {"purged"}, "1.2": {"stored"}}
    assert house.files == 3
    assert house.clean() == Cleaned()


@pytest.mark.parametrize("state", sorted(set(STUDY) - SETTLED))
def test_an_unfinished_exam_is_never_cleaned_however_old_and_however_full_the_disk(house: House, state: str) -> None:
    house.study("1.1", state, age_days=400)
    assert house.clean(keep_free_bytes=EMPTY) == Cleaned()
    assert house.files == 3


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_an_exam_that_is_done_or_expired_is_cleaned(house: House, state: str) -> None:
    house.study("1.1", state, age_days=31)
    assert house.clean().files == 3


def test_what_comes_after_an_exam_was_cancelled_is_told_once_and_cleaned_with_it(house: House) -> None:
    house.study("1.1", "cancelled", age_days=40)
    house.keep(image("1.1.1", 3, study="1.1"), image("1.1.1", 4, study="1.1"), at=NOW - 20 * DAY)
    assert house.clean() == Cleaned()
    with house.ledger.read() as connection:
        kinds = connection.execute(sa.select(events.c.kind).where(events.c.kind == "came-after-cancelling")).all()
    assert len(kinds) == 1
    assert house.clean(NOW + 11 * DAY).files == 5


def test_the_sweep_cleans_every_now_and_then_and_the_timeline_says_what_went_and_why(house: House) -> None:
    house.study("1.1", "delivered", age_days=31)
    house.study("1.2", "delivered", age_days=5)
    now = NOW
    keep = Retention(every_s=600.0, keep_free_bytes=FULL)
    settings = house.settings.model_copy(update={"retention": keep})
    sweep(Context(settings, house.ledger, lambda: now, lambda task, name: True))
    assert house.states() == {"1.1": {"purged"}, "1.2": {"stored"}}
    full = house.settings.model_copy(update={"retention": keep.model_copy(update={"keep_free_bytes": EMPTY})})
    now += 599.0
    sweep(Context(full, house.ledger, lambda: now, lambda task, name: True))
    assert house.states()["1.2"] == {"stored"}
    now += 2.0
    sweep(Context(full, house.ledger, lambda: now, lambda task, name: True))
    assert house.states()["1.2"] == {"purged"}
    told = {}
    with house.ledger.read() as connection:
        for uid in ("1.1", "1.2"):
            timeline = views.timeline(connection, find(connection, uid))
            told[uid] = [e["detail"] for e in timeline["events"] if e["kind"] == "purged"]
    assert told == {
        "1.1": ["3 files, 0.0 MB: nothing came for 30 days"],
        "1.2": ["3 files, 0.0 MB: the disk is too full"],
    }


def test_an_exam_to_which_something_came_is_looked_at_before_it_is_cleaned(house: House) -> None:
    house.study("1.1", "delivered", age_days=31)
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(dirty=True))
    assert house.clean() == Cleaned()


def test_when_the_disk_is_too_full_the_oldest_go_first_and_only_until_there_is_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, age in enumerate((20, 10, 5, 0.5)):
        house.study(f"1.{n}", "delivered", age)
    monkeypatch.setattr(disk_space, "room", lambda path: disk_space.Room(100 - 10 * house.files, 100, None, None))
    assert house.clean(keep_free_bytes=40).files == 6
    assert house.states() == {"1.0": {"purged"}, "1.1": {"purged"}, "1.2": {"stored"}, "1.3": {"stored"}}
    assert house.clean(keep_free_bytes=EMPTY).files == 3
    assert house.states()["1.3"] == {"stored"}, "younger than at_least_days"


def test_a_disk_without_inodes_is_too_full_whatever_bytes_it_has(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.study("1.1", "delivered", 20)
    monkeypatch.setattr(disk_space, "room", lambda path: disk_space.Room(10**15, 10**15, 5, 1000))
    assert house.clean().files == 3


def test_what_was_deleted_is_recorded_and_ledger_and_results_stay(house: House) -> None:
    house.study("1.1", "delivered", age_days=31)
    results = house.settings.spool.path / "results" / "r1"
    results.mkdir(parents=True)
    (results / "sr.dcm").write_bytes(b"report")
    house.clean()
    assert (results / "sr.dcm").read_bytes() == b"report"
    with house.ledger.read() as connection:
        assert connection.execute(sa.select(studies.c.state)).scalar_one() == "delivered"
        row = connection.execute(sa.select(events).where(events.c.kind == "purged")).one()
        assert connection.execute(sa.select(sa.func.count()).select_from(instances)).scalar_one() == 3
    assert row.detail == "3 files, 0.0 MB: nothing came for 30 days"
    assert row.study_id is not None


def test_what_axrad_does_not_use_goes_by_its_own_age(house: House) -> None:
    ct = image("1.5.1", 1, study="1.5")
    ct = replace(ct, ref=replace(ct.ref, sop_class_uid="1.2.840.10008.5.1.4.1.1.2"), modality="CT")
    house.keep(ours(), at=NOW - 31 * DAY)
    house.keep(ct, at=NOW - 29 * DAY)
    assert house.clean().files == 1
    assert house.files == 1


def test_a_clean_up_that_died_half_way_is_finished_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.study("1.1", "delivered", age_days=31)
    real: Callable[[Spool, str], None] = Spool.remove

    def dies(self: Spool, relative: str) -> None:
        if house.files < 3:
            raise OSError("the machine is switched off")
        real(self, relative)

    monkeypatch.setattr(Spool, "remove", dies)
    with pytest.raises(OSError, match="switched off"):
        house.clean()
    assert house.states() == {"1.1": {"purging"}}
    assert reconcile(house.ledger, house.spool, NOW) == (0, 0), "neither found nor lost"
    monkeypatch.undo()
    assert house.clean().files == 3
    assert (house.states(), house.files) == ({"1.1": {"purged"}}, 0)


def test_an_instance_that_is_sent_again_while_it_is_cleaned_is_accounted_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.study("1.1", "delivered", age_days=31)
    again = image("1.1.1", 0, study="1.1")
    real: Callable[[Spool, str], None] = Spool.remove
    seen: list[str] = []

    def races(self: Spool, relative: str) -> None:
        if not seen:
            seen.append(relative)
            with house.ledger.write() as connection:
                uid = again.ref.sop_instance_uid
                path, digest = connection.execute(
                    sa.select(instances.c.path, instances.c.digest).where(instances.c.sop_uid == uid)
                ).one()
                record(connection, Arrival(uid, digest, path, 1000, NOW, facts=again))
        real(self, relative)

    monkeypatch.setattr(Spool, "remove", races)
    house.clean()
    assert house.states() == {"1.1": {"purged", "lost"}}


def test_an_instance_that_is_sent_again_afterwards_is_back(house: House) -> None:
    house.study("1.1", "delivered", age_days=31)
    house.clean()
    house.keep(image("1.1.1", 0, study="1.1"), at=NOW)
    assert house.states() == {"1.1": {"purged", "stored"}}
    with house.ledger.read() as connection:
        assert connection.execute(sa.select(studies.c.dirty)).scalar_one()


def test_a_machine_without_the_spool_cleans_nothing(house: House, tmp_path: Path) -> None:
    house.study("1.1", "delivered", age_days=31)
    elsewhere = house.settings.model_copy(update={"spool": SpoolSection(path=tmp_path / "not-here")})
    assert clean(house.ledger, elsewhere, NOW) == Cleaned()
    assert not (tmp_path / "not-here").exists()
    assert house.states() == {"1.1": {"stored"}}


def test_a_round_is_bounded_and_says_that_there_is_more(house: House) -> None:
    for n in range(3):
        house.study(f"1.{n}", "delivered", age_days=31 + n)
    assert clean(house.ledger, house.settings, NOW, files_at_once=4) == Cleaned(6, 6000, more=True)
    assert clean(house.ledger, house.settings, NOW, files_at_once=4) == Cleaned(3, 3000)


def test_retention_can_be_switched_off(house: House) -> None:
    house.study("1.1", "delivered", age_days=400)
    assert house.clean(enabled=False) == Cleaned()


def test_a_chore_is_done_once_in_its_time_also_after_the_clock_was_wrong(ledger: Ledger) -> None:
    def take(now: float) -> bool:
        with ledger.write() as connection:
            return periodic_jobs.take_if_due(connection, "retention", now, 600.0)

    assert [take(NOW), take(NOW + 599), take(NOW + 601), take(NOW + 602)] == [True, False, True, False]
    assert take(NOW - 30 * DAY)
    with ledger.write() as connection:
        periodic_jobs.make_due(connection, "retention")
    assert take(NOW - 30 * DAY + 1)


FREE = {
    "StudyDescription": "DOE JANE left", "ReceiveCoilName": "DOE", "StationName": "DOE", "SequenceName": "DOE",
    "SeriesDescription": "DOE t1_vibe_fs dyn 2", "ProtocolName": "t2 tse DOE^JANE 19750302", "BodyPartExamined": "DOE",
    "ContrastBolusAgent": "Gadovist for DOE",
}  # fmt: skip


def texts(house: House) -> list[dict[str, Any]]:
    with house.ledger.read() as connection:
        return [row.facts for row in connection.execute(sa.select(instances.c.facts).order_by(instances.c.id))]


def test_descriptions_and_labels_go_with_the_files_and_come_back_with_them(house: House) -> None:
    described = replace(image("1.1.1", 0, study="1.1"), tags={**image("1.1.1", 0).tags, **FREE})
    labelled = replace(
        described, ref=replace(described.ref, sop_instance_uid="1.1.1.9"), segments=(SegmentFacts(1, "DOE"),)
    )
    house.keep(described, labelled, at=NOW - 40 * DAY)
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(state="delivered", dirty=False))
    assert "StationName" not in texts(house)[0]["tags"], "read on arrival alone"
    assert texts(house)[0]["tags"]["StudyDescription"] == "DOE JANE left"
    assert house.clean().files == 2
    assert "DOE" not in str(texts(house))
    assert texts(house)[0]["tags"]["SeriesDescription"] == "* t1_*_fs dyn 2", "what a rule reads of it"
    house.keep(described, labelled, at=NOW)
    assert texts(house)[0]["tags"]["StudyDescription"] == "DOE JANE left"
    assert texts(house)[1]["segments"][0]["label"] == "DOE"


QUOTED = 'what a segment is cannot be told: segment 1 (DOE) of 1.2.3: the code says Neoplasm, the label "DOE" another'


def test_sentences_that_quote_an_exam_go_with_its_last_file(house: House) -> None:
    house.study("1.1", "not_evaluated", age_days=40)
    with house.ledger.write() as connection:
        row = find(connection, "1.1")
        connection.execute(studies.update().values(reason=QUOTED, reason_code="roi-ambiguous"))
        note(connection, NOW, "not_evaluated", QUOTED, row.id)
        note(connection, NOW, "lost", "the file of instance 7 (DOE) is missing", row.id)
    assert house.clean().files == 3
    with house.ledger.read() as connection:
        timeline = views.timeline(connection, find(connection, "1.1"))
    assert (timeline["reason"], timeline["reason_code"]) == ("what a segment is cannot be told …", "roi-ambiguous")
    of_kind = {event["kind"]: event["detail"] for event in timeline["events"]}
    assert of_kind["not_evaluated"] == "what a segment is cannot be told …"
    assert of_kind["purged"] == "3 files, 0.0 MB: nothing came for 30 days"


def test_a_sentence_stays_while_a_file_of_its_exam_does(house: House) -> None:
    house.study("1.1", "not_evaluated", age_days=2)
    document = replace(
        image("1.1.9", 0, study="1.1"), ref=replace(image("1.1.9", 0, study="1.1").ref, sop_class_uid="1.2")
    )
    house.keep(document, at=NOW - 40 * DAY)
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(reason=QUOTED, dirty=False))
    assert house.clean().files == 1
    with house.ledger.read() as connection:
        assert find(connection, "1.1").reason == QUOTED


def test_texts_of_exams_that_an_earlier_version_cleaned_go_as_well_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(forgetting, "BATCHES_AT_ONCE", 1)
    described = [replace(image("1.1.1", n, study="1.1"), tags={**image("1.1.1", n).tags, **FREE}) for n in range(3)]
    house.keep(*described, at=NOW - 40 * DAY)
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(state="delivered", dirty=False, reason=QUOTED))
        connection.execute(instances.update().values(state="purged"))
    assert [house.clean().more, house.clean().more, house.clean().more] == [True, True, False]
    assert "DOE" not in str(texts(house))
    with house.ledger.read() as connection:
        assert "DOE" not in find(connection, "1.1").reason
        assert not periodic_jobs.take_if_due(connection, forgetting.CHORE, NOW + 1000 * DAY, forgetting.NEVER_AGAIN_S)


def test_what_was_forgotten_is_in_no_byte_of_the_file_either(tmp_path: Path) -> None:
    settings = Settings(spool=SpoolSection(path=tmp_path / "spool", warn_free_bytes=FULL))
    opened = open_ledger(settings)
    house = House(opened, Spool(tmp_path / "spool"), settings)
    long = {**FREE, **{f"note{n}": "x" * 400 for n in range(10)}}
    tagged = [replace(image("1.1.1", n, study="1.1"), tags={**image("1.1.1", n).tags, **long}) for n in range(30)]
    house.keep(*tagged, at=NOW - 40 * DAY)
    with opened.write() as connection:
        connection.execute(studies.update().values(state="delivered", dirty=False, reason=QUOTED))
    assert house.clean().files == 30
    remaining = {path.name for path in tmp_path.glob("ledger.sqlite*") if b"DOE" in path.read_bytes()}
    opened.close()
    assert remaining == set()
