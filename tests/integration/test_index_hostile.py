"""Whatever a data set holds, the indexer gets past it, on both ledgers."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from daemon.feedback.feedback_records import READ, collect
from daemon.indexing import arrivals
from daemon.indexing.indexer import index_once
from daemon.indexing.reconcile import reconcile
from daemon.ledger import Ledger
from daemon.ledger.engine import LedgerBusy
from daemon.ledger.tables import instances, studies
from daemon.spool import Description, JournalWriter, Spool
from pipeline.errors import NotDicom
from tests.support.archives import COMPREHENSIVE_SR
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

NOW = 1_800_000_000.0
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def quietly(make: Callable[[], Dataset]) -> tuple[Dataset, bytes]:
    """pydicom warns of what is wrong here on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = make()
        return data_set, encoded(data_set)


def a_seg(study: str, image: str) -> Dataset:
    seg = mr_image("1.2.9", sop_class_uid=SEG)
    series, item = Dataset(), Dataset()
    series.add_new(0x0020000E, "UI", study)
    item.add_new(0x00081150, "UI", "1.2.840.10008.5.1.4.1.1.4")
    item.add_new(0x00081155, "UI", image)
    series.ReferencedInstanceSequence = [item]
    other = Dataset()
    other.add_new(0x0020000D, "UI", study)
    other.ReferencedSeriesSequence = [series]
    seg.StudiesContainingOtherReferencedInstancesSequence = [other]
    return seg


def with_values(**values: Any) -> Dataset:
    image = mr_image("1.2.9")
    for keyword, value in values.items():
        setattr(image, keyword, value)
    return image


STRANGE = {
    "a reference to an instance with a very long UID": lambda: a_seg("1.2.7", "1." * 300 + "1"),
    "a reference to a study with a very long UID": lambda: a_seg("1." * 300 + "1", "1.2.8"),
    "names where UIDs are referred to": lambda: a_seg("SECRET^PERSON", "SECRET^PERSON"),
    "zeros in the middle of texts": lambda: with_values(SeriesDescription="T1\0T2", PatientID="A\0B", StationName="\0"),
    "zeros in the middle of UIDs": lambda: with_values(FrameOfReferenceUID="1.2\0003", StudyID="\0\0"),
    "texts of a megabyte": lambda: with_values(SeriesDescription="x" * 65000, StudyDescription="y" * 65000),
    "a modality of many letters": lambda: with_values(Modality="M" * 5000),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_a_strange_data_set_keeps_no_other_from_the_ledger(
    ledger: Ledger, tmp_path: Path, make: Callable[[], Dataset]
) -> None:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "SCU", "10.0.0.1")
    for one, data in (quietly(make), quietly(lambda: mr_image("1.2.10"))):
        d = Description(str(one.SOPClassUID), str(one.SOPInstanceUID), EXPLICIT_LE, "SCU")
        spool.put(d, data, journal)
    journal.close("released")
    index_once(ledger, spool, NOW)
    with ledger.read() as connection:
        rows = connection.execute(sa.select(instances.c.sop_uid, instances.c.state, instances.c.exam_uid)).all()
        uids = connection.execute(sa.select(studies.c.study_uid)).scalars().all()
    assert {row.sop_uid for row in rows} == {"1.2.9", "1.2.10"}
    assert all(len(u) <= 64 and "SECRET" not in u for u in uids)


@pytest.mark.parametrize("uid", ["1.2\0003", "1." * 300 + "1", "SECRET^PERSON"], ids=["zero", "long", "name"])
def test_a_readers_report_about_something_that_is_no_uid_stops_nothing(
    ledger: Ledger, tmp_path: Path, uid: str
) -> None:
    def report() -> Dataset:
        code, verdict, about, reference = Dataset(), Dataset(), Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "122775", "DCM", "Agreement"
        verdict.ValueType, verdict.ConceptCodeSequence = "CODE", [code]
        reference.add_new(0x00081155, "UI", uid)
        about.ValueType, about.ReferencedSOPSequence = "COMPOSITE", [reference]
        made = mr_image("1.2.9", sop_class_uid=COMPREHENSIVE_SR)
        made.ContentSequence = [verdict, about]
        return made

    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "READER", "10.0.0.1")
    spool.put(Description(COMPREHENSIVE_SR, "1.2.9", EXPLICIT_LE), quietly(report)[1], journal)
    journal.close("released")
    assert index_once(ledger, spool, NOW) > 0
    with capture_logs() as logs:
        assert collect(ledger, spool.root, NOW) == 0
    assert logs == []
    with ledger.read() as connection:
        assert connection.execute(sa.select(instances.c.note)).scalars().all() == [READ]


def test_a_line_that_the_ledger_cannot_take_at_all_is_passed_over_and_its_file_is_found_by_the_walk(
    ledger: Ledger, tmp_path: Path
) -> None:
    """An AE title of 5,000 characters: a journal that the disk has damaged. SQLite does not mind."""
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "S" * 5000, "10.0.0.1")
    for uid in ("1.2.9", "1.2.10"):
        spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCU"), encoded(mr_image(uid)), journal)
    journal.close("released")
    index_once(ledger, spool, NOW)
    assert list(spool.journal.iterdir()) == []
    reconcile(ledger, spool, NOW)
    with ledger.read() as connection:
        states = connection.execute(sa.select(instances.c.state)).scalars().all()
    assert states == ["stored", "stored"]


def test_a_file_that_cannot_be_read_now_keeps_no_other_from_the_ledger_and_is_read_later(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "SCU", "10.0.0.1")
    for uid in ("1.2.9", "1.2.10"):
        spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCU"), encoded(mr_image(uid)), journal)
    journal.close("released")
    (bad,) = spool.find("1.2.9")

    def describe(spool: Spool, path: str, *rest: Any) -> Any:
        if path.endswith(bad.name):
            raise OSError(errno.EIO, "Input/output error")
        return arrivals.describe(spool, path, *rest)

    monkeypatch.setattr("daemon.indexing.line_reading.describe", describe)
    index_once(ledger, spool, NOW)
    reconcile(ledger, spool, NOW)
    with ledger.read() as connection:
        uids = connection.execute(sa.select(instances.c.sop_uid)).scalars().all()
    assert sorted(uids) == ["1.2.10", "1.2.9"]


def test_a_database_that_cuts_the_connection_is_away_and_a_wrong_statement_is_a_bug(postgres: str) -> None:
    def cut(connection: sa.Connection) -> None:
        mine = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with ledger.write() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
        connection.execute(sa.text("SELECT 1"))

    def take_too_long(connection: sa.Connection) -> None:
        connection.execute(sa.text("SET LOCAL statement_timeout = 10"))
        connection.execute(sa.text("SELECT pg_sleep(30)"))

    ledger = Ledger(sa.create_engine(f"{postgres}/postgres"))
    for trouble in (cut, take_too_long):
        with pytest.raises(LedgerBusy), ledger.write() as connection:
            trouble(connection)
    with pytest.raises(sa.exc.DBAPIError), ledger.read() as connection:
        connection.execute(sa.text("SELECT nonsense"))
    ledger.close()


@pytest.mark.cases
def test_every_malformed_file_has_a_row_and_keeps_no_good_one_from_its_own(
    ledger: Ledger, tmp_path: Path, cases: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, "HOSTILE", "10.0.0.1")
    files = sorted((cases / "fuzz").rglob("*.dcm"))
    kept = set()
    for number, path in enumerate(files):
        good = f"1.2.10.{number}"
        for uid, data in ((f"1.2.9.{number}", path.read_bytes()[132:]), (good, encoded(mr_image(good)))):
            kept.add(spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "HOSTILE"), data, journal).path)
        with suppress(NotDicom):
            kept.add(spool.ingest_file(path, journal).path)
    journal.close("released")
    index_once(ledger, spool, NOW)
    with ledger.read() as connection:
        rows = connection.execute(sa.select(instances.c.path, instances.c.sop_uid, instances.c.state)).all()
    assert {row.path for row in rows} == kept
    assert {row.state for row in rows if row.sop_uid.startswith("1.2.10.")} == {"stored"}
    assert len(files) > 20
