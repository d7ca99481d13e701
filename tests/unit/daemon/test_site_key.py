"""Digests of identifiers under the site's key: made once, agreed on, and old ledgers brought under it whole."""

from __future__ import annotations

import dataclasses
import gzip
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Retention, Settings, Site, Spool
from daemon.assembly import Answer, Verdict
from daemon.assembly.identity import NOBODY
from daemon.finding import Finding
from daemon.health import site_key_check
from daemon.indexing.indexer import run
from daemon.ledger import Ledger, keyed_digests, open_ledger, operator_requests, site_key
from daemon.ledger.archive_answers import record_answers
from daemon.ledger.engine import bare_ledger
from daemon.ledger.instances import Arrival, columns_of, record
from daemon.ledger.keyed_digests import bring, bring_all, bring_along, keyed_facts, mark_mixed
from daemon.ledger.migrations import copies_before_upgrades, migrate
from daemon.ledger.rows import StudyRow, rows_where
from daemon.ledger.site_key import SiteKey, SiteKeyTrouble, key_for, path_of, read
from daemon.ledger.study_merge import join
from daemon.ledger.tables import instances, pacs_answers, studies
from daemon.ledger.verdicts import Overtaken, apply, evidence_of, take_to_judge
from daemon.retention import clean
from daemon.spool import JournalWriter
from daemon.spool import Spool as Store
from pipeline.catalog import InstanceFacts, patient_key
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.facts import image, seg
from tests.support.waiting import wait_for

NOW = 1_800_000_000.0
BEFORE = "0013"
IDS = ("P1", "P2", "P3")


def settings_in(folder: Path, url: str) -> Settings:
    return Settings(ledger=LedgerSection(url=url), spool=Spool(path=folder / "spool"))


def with_tags(facts: InstanceFacts, **tags: Any) -> InstanceFacts:
    return dataclasses.replace(facts, tags={**facts.tags, **tags})


def exams() -> list[InstanceFacts]:
    """Two exams of P1, the second with an issuer and a SEG; one of P2; one of nobody; a report that is no exam's."""
    first = [image("1.1.1", n, "1.1", "P1") for n in range(3)]
    second = [with_tags(image("1.2.1", n, "1.2", "P1"), patient_id_key=patient_key("P1", "")) for n in range(3)]
    drawn = with_tags(seg(second, "1.2.9.1"), author_key=patient_key("doe^jane", "author"))
    return [*first, *second, drawn, image("1.3.1", 0, "1.3", "P2"), image("1.4.1", 0, "1.4", "")]


def old_rows(connection: sa.Connection) -> None:
    """What an axrad of before wrote: columns and rows of its own, digests as they are."""
    found = sa.MetaData()
    found.reflect(connection)
    theirs = found.tables["instances"], found.tables["studies"], found.tables["pacs_answers"]
    for facts in exams():
        uid = facts.ref.sop_instance_uid
        row = columns_of(Arrival(uid, "d", f"instances/aa/{uid}.dcm", 10, NOW, facts=facts)) | {"state": "stored"}
        connection.execute(theirs[0].insert().values({name: row[name] for name in theirs[0].c.keys() & row.keys()}))
    for number, patient in (("1.1", "P1"), ("1.2", "P1"), ("1.3", "P2"), ("1.4", "")):
        key = patient_key(patient, "")
        times = dict.fromkeys(("first_arrival_at", "last_arrival_at", "changed_at"), NOW)
        row = {"id": number, "study_uid": number, "state": "delivered", "patient_key": key, **times}
        if number == "1.1":
            row |= {"identity_key": key, "corrected_key": patient_key("P3", ""), "accepted_keys": [key]}
        connection.execute(theirs[1].insert().values(**row))
    alone = patient_key("P1", "")
    answer = {"exam_uid": "1.1", "pacs": "a", "asked_at": NOW, "patient_key": alone, "patient_id_key": alone}
    connection.execute(theirs[2].insert().values(**answer, series=[]))


@pytest.fixture
def old(ledger_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the version before there was a key, opened by this one."""
    settings = settings_in(tmp_path, ledger_url)
    ledger = bare_ledger(settings)
    with ledger.write() as connection:
        migrate(connection, tmp_path / "backups", to=BEFORE)
        old_rows(connection)
    ledger.close()
    opened = open_ledger(settings)
    yield opened
    opened.close()


@pytest.fixture
def key(old: Ledger, ledger_url: str, tmp_path: Path) -> SiteKey:
    return key_for(settings_in(tmp_path, ledger_url), old, NOW)


def values_in(ledger: Ledger) -> str:
    """Everything that the three tables hold, as text."""
    with ledger.read() as connection:
        return repr([connection.execute(sa.select(table)).all() for table in (instances, studies, pacs_answers)])


def plain(text: str) -> set[str]:
    """Ids whose plain digest, with or without an issuer, stands in a text."""
    return {patient for patient in IDS if patient_key(patient, "") in text or patient_key(patient, "author") in text}


def test_an_old_ledger_is_brought_under_the_key_in_every_place(old: Ledger, key: SiteKey) -> None:
    before = values_in(old)
    assert plain(before) == set(IDS)
    bring_all(old, key)
    after = values_in(old)
    assert plain(after) == set()
    assert patient_key("doe^jane", "author") not in after
    assert keyed_digests.is_done(old, key)
    for digest in (patient_key("P1", ""), patient_key("P3", ""), patient_key("doe^jane", "author")):
        assert after.count(key.keyed(digest)) == before.count(digest)
    assert bring(old, key) == 0, "doing it again changes nothing"
    assert values_in(old) == after


def test_nobody_stays_nobody(old: Ledger, key: SiteKey) -> None:
    bring_all(old, key)
    with old.read() as connection:
        (study,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.4")
    assert study.patient_key == NOBODY
    assert key.keyed(NOBODY) == NOBODY


def test_killed_after_any_step_a_patient_is_whole_and_the_rest_follows(
    old: Ledger, key: SiteKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_digests, "ROWS_OF_A_STEP", 1)
    steps = 0
    while bring(old, key):
        steps += 1
        with old.read() as connection:
            for study in rows_where(connection, StudyRow):
                of_it = instances.c.exam_uid == study.study_uid
                keys = set(connection.execute(sa.select(instances.c.patient_key).where(of_it)).scalars())
                assert keys == {study.patient_key}
            of_p1 = {s.patient_key for s in rows_where(connection, StudyRow, studies.c.study_uid.in_(("1.1", "1.2")))}
            assert len(of_p1) == 1
    assert steps > 2
    assert plain(values_in(old)) == set()


def test_a_step_that_fails_leaves_what_was(old: Ledger, key: SiteKey, monkeypatch: pytest.MonkeyPatch) -> None:
    before = values_in(old)
    monkeypatch.setattr(keyed_digests, "_answers", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        bring(old, key)
    assert values_in(old) == before


def test_an_old_process_that_still_writes_is_followed(old: Ledger, key: SiteKey) -> None:
    bring_all(old, key)
    late = image("1.1.1", 7, "1.1", "P1")
    with old.write() as connection:
        columns = columns_of(Arrival("late", "d", "instances/aa/late.dcm", 1, NOW, facts=late))
        connection.execute(instances.insert().values(**columns, state="stored"))
        connection.execute(studies.update().where(studies.c.id == "1.1").values(state="held"))
        connection.execute(studies.update().where(studies.c.id == "1.3").values(identity_key=patient_key("P2", "")))
        assert mark_mixed(connection, key) == 1
    assert plain(values_in(old)) == {"P1", "P2"}
    bring_all(old, key)
    assert plain(values_in(old)) == set()
    with old.read() as connection:
        assert (
            len(set(connection.execute(sa.select(instances.c.patient_key).where(instances.c.exam_uid == "1.1")))) == 1
        )


def test_what_arrives_after_it_meets_the_patient_of_before(old: Ledger, key: SiteKey) -> None:
    bring_all(old, key)
    new = keyed_facts(image("1.5.1", 0, "1.5", "P1"), key)
    with old.write() as connection:
        record(connection, Arrival("new", "d", "instances/aa/new.dcm", 1, NOW, facts=new, key_id=key.id))
        of_it = sa.select(studies.c.patient_key, studies.c.key_id).where(studies.c.study_uid == "1.5")
        patient, key_id = connection.execute(of_it).one()
        same = connection.execute(sa.select(studies.c.study_uid).where(studies.c.patient_key == patient)).scalars()
        assert sorted(same) == ["1.1", "1.2", "1.5"]
    assert key_id == key.id
    assert keyed_digests.is_done(old, key)
    assert plain(values_in(old)) == set()


def test_an_exam_of_before_that_was_cleaned_is_still_its_patients(
    old: Ledger, key: SiteKey, ledger_url: str, tmp_path: Path
) -> None:
    """Retention leaves digests alone: what comes later for the exam, or of its patient, finds both."""
    (tmp_path / "spool" / "instances").mkdir(parents=True, exist_ok=True)
    settings = settings_in(tmp_path, ledger_url)
    bring_all(old, key)
    with old.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    assert clean(old, settings, NOW + 31 * 86400.0).files == len(exams())
    assert plain(values_in(old)) == set()
    late = keyed_facts(image("1.2.1", 9, "1.2", "P1"), key)
    with old.write() as connection:
        record(connection, Arrival("late", "d", "instances/aa/late.dcm", 1, NOW, facts=late, key_id=key.id))
        (study,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.2")
        assert {stored.facts.patient_key for stored in evidence_of(connection, study).stored} == {late.patient_key}
        same = sa.select(studies.c.study_uid).where(studies.c.patient_key == late.patient_key)
        assert sorted(connection.execute(same).scalars()) == ["1.1", "1.2"]


def test_what_arrives_while_old_rows_are_brought_takes_its_patient_along(old: Ledger, key: SiteKey) -> None:
    """In one transaction, so that nobody ever sees half of a patient under the key; others wait for their turn."""
    plain_facts = image("1.5.1", 0, "1.5", "P1")
    facts = keyed_facts(plain_facts, key)
    with old.write() as connection:
        arrival = Arrival("new", "d", "instances/aa/new.dcm", 1, NOW, facts=facts, key_id=key.id)
        exam = record(connection, arrival)
        assert exam == "1.5"
        bring_along(connection, key, [exam], [plain_facts.patient_key])
    with old.read() as connection:
        of = {s.study_uid: s.patient_key for s in rows_where(connection, StudyRow)}
        done = set(connection.execute(sa.select(instances.c.exam_uid).where(instances.c.key_id == key.id)).scalars())
    assert of["1.1"] == of["1.2"] == of["1.5"] == key.keyed(patient_key("P1", ""))
    assert of["1.3"] == patient_key("P2", "")
    assert done == {"1.1", "1.2", "1.5"}
    assert not keyed_digests.is_done(old, key)


def test_the_indexer_does_both_at_once(
    old: Ledger, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_digests, "ROWS_OF_A_STEP", 1)
    settings = settings_in(tmp_path, ledger_url)
    files = write_exam(tmp_path / "exam", PhantomSpec(seed=5, preset="small")).paths[:3]
    spool = Store(settings.spool.path)
    journal = JournalWriter(spool.journal, "INGEST", "local")
    assert len(list(spool.ingest(files, journal))) == 3
    journal.close("released")
    stop = threading.Event()
    indexer = threading.Thread(target=run, args=(settings, stop))
    indexer.start()

    def under_a_key() -> int:
        with old.read() as connection:
            return connection.execute(
                sa.select(sa.func.count()).select_from(instances).where(instances.c.key_id != "")
            ).scalar_one()

    try:
        wait_for(lambda: under_a_key() == len(exams()) + 3, "old and new rows", moves=under_a_key)
    finally:
        stop.set()
        indexer.join()
    assert plain(values_in(old)) == set()
    with old.read() as connection:
        assert {s.key_id for s in rows_where(connection, StudyRow)} == {site_key.id_in(connection)}


def test_regions_that_come_to_an_exam_come_under_its_key(old: Ledger, key: SiteKey) -> None:
    with old.write() as connection:
        connection.execute(instances.update().where(instances.c.sop_uid == "1.2.9.1").values(exam_uid="1.4"))
        bring_along(connection, key, ["1.4"], [""])
        query = sa.select(instances.c.key_id).where(instances.c.sop_uid == "1.2.9.1")
        assert connection.execute(query).scalar_one() == key.id
        others = sa.select(instances.c.key_id).where(instances.c.exam_uid.in_(("1.1", "1.2", "1.3")))
        assert set(connection.execute(others).scalars()) == {""}


def test_answers_of_archives_are_kept_as_their_exam_is(old: Ledger, key: SiteKey) -> None:
    answers = [Answer("a", NOW, patient_key("P2", ""), patient_key("P2", ""))]
    keyed = lambda digest, key_id: {key.id: key}[key_id].keyed(digest)  # noqa: E731
    for expected in (patient_key("P2", ""), key.keyed(patient_key("P2", ""))):
        with old.write() as connection:
            record_answers(connection, "1.3", answers, keyed)
            (study,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.3")
            (answer,) = evidence_of(connection, study).answers
        assert answer.patient_key == answer.patient_id_key == study.patient_key == expected
        bring_all(old, key)


def test_an_operators_word_and_merges_work_before_and_after(old: Ledger, key: SiteKey) -> None:
    for _ in range(2):
        with old.write() as connection:
            (study,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.1")
            assert operator_requests.retry(connection, study, NOW, new_revision=False, accept_identity=True)
            (again,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.1")
            assert again.accepted_keys == [study.patient_key]
            connection.execute(studies.update().where(studies.c.id == "1.1").values(corrected_key=study.identity_key))
        bring_all(old, key)
    with old.write() as connection:
        (study,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.1")
        join(connection, study, ["study_date"], NOW)
        left = connection.execute(sa.select(studies.c.study_uid).where(studies.c.patient_key == study.patient_key))
        assert len(left.all()) == 1, "two exams of one patient and one day are one"


def test_a_verdict_from_before_the_key_is_not_written_after_it(old: Ledger, key: SiteKey, tmp_path: Path) -> None:
    with old.write() as connection:
        connection.execute(studies.update().where(studies.c.id == "1.3").values(dirty=True, state="assembling"))
        taken = take_to_judge(connection, "1.3", NOW)
    assert taken is not None
    bring_all(old, key)
    verdict = Verdict("waiting", "missing", "T2", identity=taken.patient_key)
    with pytest.raises(Overtaken), old.write() as connection:
        apply(connection, taken, verdict, NOW, Settings(spool=Spool(path=tmp_path)))
    assert plain(values_in(old)) == set()


def test_the_first_start_makes_the_key_and_later_ones_take_it(ledger: Ledger, tmp_path: Path) -> None:
    settings = Settings(spool=Spool(path=tmp_path / "spool"))
    key = key_for(settings, ledger, NOW)
    assert stat.S_IMODE(path_of(settings).stat().st_mode) == 0o600
    assert key_for(settings, ledger, NOW) == key
    with ledger.read() as connection:
        assert site_key.id_in(connection) == key.id
    assert key.secret.hex() not in repr(key)


def test_another_machine_needs_the_same_key(ledger: Ledger, tmp_path: Path) -> None:
    first = Settings(spool=Spool(path=tmp_path / "one" / "spool"))
    second = Settings(site=Site(key_file=tmp_path / "two.key"), spool=Spool(path=tmp_path / "two" / "spool"))
    key = key_for(first, ledger, NOW)
    with pytest.raises(SiteKeyTrouble, match=rf"key {key.id}, and .*two\.key is not there: copy that key here"):
        key_for(second, ledger, NOW)
    assert not path_of(second).exists(), "no key is made that nobody can use"
    path_of(second).write_text("ab" * 32)
    with pytest.raises(SiteKeyTrouble, match=r"two\.key is the key"):
        key_for(second, ledger, NOW)
    path_of(second).write_text(path_of(first).read_text().strip())
    assert key_for(second, ledger, NOW) == key


def test_a_file_that_is_no_key_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    for content in ("", "password\n", "ab" * 31, "ä" * 64):
        (tmp_path / "site.key").write_text(content)
        with pytest.raises(SiteKeyTrouble, match="64 hexadecimal digits"):
            read(tmp_path / "site.key")


def test_a_lost_key_is_replaced_only_when_that_was_allowed(old: Ledger, key: SiteKey, tmp_path: Path) -> None:
    settings = Settings(spool=Spool(path=tmp_path / "spool"))
    bring_all(old, key)
    path_of(settings).unlink()
    with pytest.raises(SiteKeyTrouble, match="site-key --lost"):
        key_for(settings, old, NOW)
    with old.write() as connection:
        site_key.allow_change(connection)
    new = key_for(settings, old, NOW)
    assert new.id != key.id
    bring_all(old, new)
    assert keyed_digests.is_done(old, new)
    assert key.keyed(patient_key("P1", "")) in values_in(old), "what the old key made stays, and equals nothing new"


def test_a_copy_of_the_ledger_with_plain_digests_is_told_of_and_goes_with_the_exams_of_its_time(
    old: Ledger, key: SiteKey, ledger_url: str, tmp_path: Path
) -> None:
    (tmp_path / "spool" / "instances").mkdir(parents=True, exist_ok=True)
    settings = settings_in(tmp_path, ledger_url)
    bring_all(old, key)
    (copy,) = copies_before_upgrades(tmp_path / "backups")
    assert plain(gzip.decompress(copy.path.read_bytes()).decode()) == set(IDS)

    def told() -> Finding:
        with old.read() as connection:
            return site_key_check.site_key(connection, settings)

    assert (told().level, copy.path.name in told().text) == ("warn", True)
    day = 86400.0
    clean(old, settings, copy.made_at + 29 * day)
    assert copy.path.exists()
    at_once = settings.model_copy(update={"retention": Retention(keep_days=0)})
    clean(old, at_once, copy.made_at + 6 * day)
    assert copy.path.exists(), "the way back stays for a week"
    clean(old, settings, copy.made_at + 31 * day)
    assert not copy.path.exists()
    assert told().level == "ok"
