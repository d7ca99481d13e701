"""An exam is found by its accession number, of which the ledger holds a digest under the site's key alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Settings
from config.schema import Spool as SpoolSettings
from daemon.indexing.indexer import index_once
from daemon.ledger import Ledger, accessions, keyed_digests, site_key
from daemon.ledger.instances import Arrival, mark_lost, record
from daemon.ledger.site_key import SiteKey, key_for
from daemon.ledger.tables import accessions as table
from daemon.ledger.tables import instances, metadata, revisions, studies
from daemon.share import spool_files
from daemon.share.server import sharing
from daemon.spool import JournalWriter, Spool
from daemon.work import older_accessions
from daemon.work.context import Context
from daemon.work.older_accessions import OlderAccessions
from pipeline.catalog import accession_key
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.facts import image

NOW, NUMBER = 1_800_000_000.0, "RIS-77-20260115"


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    written = write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=3, preset="small"))
    for path in written.paths:
        ds = pydicom.dcmread(path)
        ds.AccessionNumber = f" {NUMBER} "
        ds.save_as(path, enforce_file_format=True)
    return written


@pytest.fixture
def settings(ledger_url: str, tmp_path: Path) -> Settings:
    return Settings(ledger=LedgerSection(url=ledger_url), spool=SpoolSettings(path=tmp_path / "spool"))


@pytest.fixture
def key(ledger: Ledger, settings: Settings) -> SiteKey:
    return key_for(settings, ledger, NOW)


def index(ledger: Ledger, settings: Settings, key: SiteKey, *paths: Path) -> None:
    spool = Spool(settings.spool.path)
    journal = JournalWriter(spool.journal, "MR", "127.0.0.1")
    assert not [o for _, o in spool.ingest(paths, journal) if isinstance(o, Exception)]
    journal.close("released")
    index_once(ledger, spool, NOW, settings, key)


def exams_of(ledger: Ledger, *digests: str) -> list[str]:
    with ledger.read() as connection:
        return accessions.exams_of(connection, digests)


def arrive(ledger: Ledger, number: int, accession: str, key_id: str = "", study: str = "1.2.3") -> None:
    facts = image(f"{study}.1", number, study=study)
    uid = facts.ref.sop_instance_uid
    with ledger.write() as connection:
        record(connection, Arrival(uid, "d", f"{uid}.dcm", 10, NOW, facts=facts, key_id=key_id, accession=accession))


def test_images_that_come_are_found_by_their_number_and_no_row_holds_it(
    ledger: Ledger, settings: Settings, key: SiteKey, exam: PhantomExam
) -> None:
    index(ledger, settings, key, *exam.paths[:20])
    plain = accession_key(NUMBER)
    assert exams_of(ledger, key.keyed(plain)) == [exam.study_uid]
    with ledger.read() as connection:
        rows = repr([connection.execute(sa.select(each)).all() for each in metadata.tables.values()])
        assert len(connection.execute(sa.select(table)).all()) == 1
    assert NUMBER not in rows
    assert plain not in rows


def test_an_exam_of_before_is_found_once_one_of_its_images_comes_back(ledger: Ledger) -> None:
    arrive(ledger, 0, "")
    assert exams_of(ledger, "d1") == []
    with ledger.write() as connection:
        mark_lost(connection, connection.execute(sa.select(instances.c.id)).scalars().all(), NOW)
    arrive(ledger, 0, "d1")
    assert exams_of(ledger, "d1") == ["1.2.3"]


def test_two_numbers_of_one_exam_and_two_exams_of_one_number(ledger: Ledger) -> None:
    arrive(ledger, 0, "d1")
    arrive(ledger, 1, "d2")
    arrive(ledger, 0, "d2", study="1.2.4")
    assert exams_of(ledger, "d1") == ["1.2.3"]
    assert sorted(exams_of(ledger, "d2")) == ["1.2.3", "1.2.4"]
    with ledger.write() as connection:
        accessions.move_accessions(connection, "1.2.4", "1.2.3")
    assert exams_of(ledger, "d2") == ["1.2.3"]


def test_no_number_leads_nowhere(ledger: Ledger) -> None:
    arrive(ledger, 0, "")
    assert accession_key("  ") == ""
    assert exams_of(ledger, "") == []


def context(ledger: Ledger, settings: Settings) -> Context:
    return Context(settings, ledger, lambda: NOW, lambda task, row_id: True)


def from_before(ledger: Ledger) -> None:
    """As the ledger was left by an axrad that kept no digests of accession numbers."""
    with ledger.write() as connection:
        connection.execute(table.delete())


def test_exams_of_before_get_their_number_from_what_lies_in_the_spool(
    ledger: Ledger, settings: Settings, key: SiteKey, exam: PhantomExam
) -> None:
    index(ledger, settings, key, *exam.paths[:3])
    from_before(ledger)
    with ledger.read() as connection:
        assert not accessions.is_complete(connection)
    OlderAccessions().go_on(context(ledger, settings))
    assert exams_of(ledger, key.keyed(accession_key(NUMBER))) == [exam.study_uid]
    with ledger.read() as connection:
        assert accessions.is_complete(connection)
        assert accessions.unknown(connection) == 0


def test_an_exam_whose_images_are_gone_gets_it_from_its_report(
    ledger: Ledger, settings: Settings, key: SiteKey, exam: PhantomExam
) -> None:
    index(ledger, settings, key, exam.paths[0])
    from_before(ledger)
    with ledger.write() as connection:
        connection.execute(instances.update().values(state="purged"))
        study_id = connection.execute(sa.select(studies.c.id)).scalar_one()
        values = {"input_digest": "d", "inputs": {}, "state": "reported", "stage": "done", "created_at": NOW}
        connection.execute(
            revisions.insert().values(id="r1", study_id=study_id, number=1, next_attempt_at=NOW, **values)
        )
    report = settings.spool.path / "results" / "r1" / "sr.dcm"
    report.parent.mkdir(parents=True)
    shutil.copy(exam.paths[0], report)
    OlderAccessions().go_on(context(ledger, settings))
    assert exams_of(ledger, key.keyed(accession_key(NUMBER))) == [exam.study_uid]


def test_exams_are_gone_through_in_portions_once_and_those_without_a_file_are_counted(
    ledger: Ledger, settings: Settings, key: SiteKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(older_accessions, "EXAMS_AT_ONCE", 2)
    monkeypatch.setattr(accessions, "RANGE", 4)
    for number in range(7):
        arrive(ledger, 0, "d1" if number == 3 else "", key.id, study=f"1.2.{number}")
    older, work, counts = OlderAccessions(), context(ledger, settings), []
    for _ in range(6):
        older.go_on(work)
        with ledger.read() as connection:
            counts.append((accessions.unknown(connection), accessions.is_complete(connection)))
    assert counts[0] == (2, False)
    assert [n for n, _ in counts] == sorted(n for n, _ in counts)
    assert counts[-1] == (6, True)
    keyed_digests.bring_all(ledger, key)
    with ledger.read() as connection:
        assert accessions.unknown(connection) == 6
    arrive(ledger, 1, "", key.id, study="1.2.99")
    OlderAccessions().go_on(work)
    with ledger.read() as connection:
        assert accessions.unknown(connection) == 6, "a new exam has no number, and nobody looks for one"


def test_a_file_that_cannot_be_read_stops_nothing(
    ledger: Ledger, settings: Settings, key: SiteKey, exam: PhantomExam
) -> None:
    index(ledger, settings, key, *exam.paths[:2])
    from_before(ledger)
    with ledger.read() as connection:
        first = connection.execute(sa.select(instances.c.path).order_by(instances.c.id)).scalars().first()
    (settings.spool.path / str(first)).write_bytes(b"torn")
    OlderAccessions().go_on(context(ledger, settings))
    assert exams_of(ledger, key.keyed(accession_key(NUMBER))) == [exam.study_uid]


def test_an_exam_in_another_spool_is_left_to_who_reads_it_and_waited_for_where_it_does_not_answer(
    ledger: Ledger,
    settings: Settings,
    key: SiteKey,
    exam: PhantomExam,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool_files, "PAUSES_S", ())
    index(ledger, settings, key, *exam.paths[:3])
    from_before(ledger)
    own = settings.spool.model_copy(update={"path": tmp_path / "b" / "spool", "id": "b", "share_token": "t" * 27})
    site = settings.site.model_copy(update={"key_file": site_key.path_of(settings)})
    host = settings.model_copy(update={"spool": own, "site": site})

    def go_on(others: dict[str, str]) -> tuple[list[str], int, bool]:
        spool = own.model_copy(update={"others": others})
        OlderAccessions().go_on(context(ledger, host.model_copy(update={"spool": spool})))
        with ledger.read() as connection:
            complete = accessions.is_complete(connection)
            return exams_of(ledger, key.keyed(accession_key(NUMBER))), accessions.unknown(connection), complete

    assert go_on({}) == ([], 0, False)
    assert go_on({"main": "http://127.0.0.1:9"}) == ([], 0, False)
    sharing_ = settings.spool.model_copy(update={"share_port": 0, "share_token": "t" * 27})
    with sharing(sharing_) as server:
        assert server is not None
        assert go_on({"main": f"http://127.0.0.1:{server.server_port}"}) == ([exam.study_uid], 0, True)


def test_without_the_sites_key_it_waits(ledger: Ledger, tmp_path: Path) -> None:
    arrive(ledger, 0, "")
    OlderAccessions().go_on(context(ledger, Settings(spool=SpoolSettings(path=tmp_path / "spool"))))
    with ledger.read() as connection:
        assert not accessions.is_complete(connection)


def test_digests_of_a_process_without_the_key_are_brought_under_it(ledger: Ledger, key: SiteKey) -> None:
    plain = accession_key(NUMBER)
    arrive(ledger, 0, plain)
    arrive(ledger, 1, key.keyed(plain), key.id)
    assert not keyed_digests.is_done(ledger, key)
    keyed_digests.bring_all(ledger, key)
    assert keyed_digests.is_done(ledger, key)
    assert exams_of(ledger, plain) == []
    assert exams_of(ledger, key.keyed(plain)) == ["1.2.3"]
    with ledger.read() as connection:
        assert [row.key_id for row in connection.execute(sa.select(table))] == [key.id]
