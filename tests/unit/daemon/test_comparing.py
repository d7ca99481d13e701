"""Two data sets under one SOP Instance UID are compared beside the indexer, by a process that may die of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Settings
from daemon.assembly import Arrived
from daemon.assembly.duplicates import CONTENT_TAG
from daemon.assembly.judge import NOT_COMPARED, judge
from daemon.indexing import pixel_comparison
from daemon.indexing.indexer import index_once
from daemon.indexing.pixel_comparison import compare_once
from daemon.ledger import Ledger, comparisons
from daemon.ledger.tables import events, instances, studies
from daemon.spool import Description, Spool
from daemon.spool.journal import JournalWriter
from pipeline.decoding import Died, worker
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

NOW = 1_000_000.0
JPEG_LS = "1.2.840.10008.1.2.4.80"


def rows(ledger: Ledger) -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(instances).order_by(instances.c.id)).all())


def expected(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return comparisons.uids_to_compare(connection, 10)


def receive(spool: Spool, uid: str, data: bytes, syntax: str = EXPLICIT_LE) -> None:
    journal = JournalWriter(spool.journal, "SCU", "10.0.0.1")
    spool.put(Description(MR_IMAGE, uid, syntax, "SCU"), data, journal)
    journal.close("released")


def came_twice(ledger: Ledger, spool: Spool) -> None:
    for pixels in (b"\1\2" * 16, b"\3\4" * 16):
        receive(spool, "1.2.3.1", encoded(mr_image("1.2.3.1", pixels=pixels)))
        index_once(ledger, spool, NOW)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def data_set(path: Path) -> bytes:
    """The bytes behind the file meta information."""
    data = path.read_bytes()
    return data[132 + 12 + int.from_bytes(data[140:144], "little") :]


def test_the_indexer_asks_nobody_to_decode_and_the_one_that_cannot_be_decoded_is_set_aside(
    ledger: Ledger, spool: Spool, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker._one, "ask", lambda *given: pytest.fail("asked by the indexer"))
        for name in ("abort_first", "abort_second"):
            receive(spool, "2.25.7771", data_set(cases / "faults2" / "codecs" / f"{name}.dcm"), JPEG_LS)
            receive(spool, f"1.2.3.{len(name)}", encoded(mr_image(f"1.2.3.{len(name)}")))
            index_once(ledger, spool, NOW)
    found = {(row.sop_uid, row.state) for row in rows(ledger)}
    assert ("1.2.3.11", "stored") in found
    assert ("1.2.3.12", "stored") in found
    uid = next(row.sop_uid for row in rows(ledger) if row.sop_uid not in ("1.2.3.11", "1.2.3.12"))
    assert expected(ledger) == [uid]
    assert compare_once(ledger, spool, NOW) == 1
    assert expected(ledger) == []
    first, second = (row for row in rows(ledger) if row.sop_uid == uid)
    assert (first.state, second.state, second.note) == ("stored", "unreadable", pixel_comparison.UNDECODABLE)


def test_an_instance_whose_decoder_dies_is_set_aside_and_the_other_counts(
    ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    came_twice(ledger, spool)
    first, second = rows(ledger)

    def content_of(path: Path) -> str:
        if path.name.startswith(first.digest):
            raise Died("SIGABRT")
        return "a digest"

    monkeypatch.setattr(pixel_comparison, "content_of", content_of)
    with ledger.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    compare_once(ledger, spool, NOW)
    first, second = rows(ledger)
    assert (first.state, second.state) == ("unreadable", "stored")
    assert "SIGABRT" in first.note
    assert second.facts["tags"][CONTENT_TAG] == "a digest"
    with ledger.read() as connection:
        assert connection.execute(sa.select(studies.c.dirty)).scalar_one()
        details = connection.execute(sa.select(events.c.detail).where(events.c.kind == "set-aside")).scalars().all()
    assert [detail.split(",")[0] for detail in details] == ["instance 1.2.3.1"]


def test_what_is_too_large_is_not_compared(ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    came_twice(ledger, spool)
    monkeypatch.setattr(pixel_comparison, "MOST_DECODED_BYTES", 1)
    compare_once(ledger, spool, NOW)
    assert [(row.state, row.facts["tags"][CONTENT_TAG]) for row in rows(ledger)] == [("stored", "")] * 2
    assert expected(ledger) == []


def test_an_exam_waits_a_minute_for_the_comparison_and_then_goes_on_flagged(ledger: Ledger, spool: Spool) -> None:
    came_twice(ledger, spool)
    with ledger.read() as connection:
        exam_uid = connection.execute(sa.select(studies.c.study_uid)).scalar_one()
        since = comparisons.waiting_since(connection, exam_uid)
    assert since is not None
    settings = Settings()
    exam = Arrived(exam_uid, (), since - 1000, since - 1000, comparing_since=since)
    verdict = judge(exam, since + 59, settings)
    assert (verdict.state, verdict.code, verdict.due_at) == ("assembling", "comparing", since + 60)
    verdict = judge(exam, since + 60, settings)
    assert (verdict.state, verdict.flagged) == ("waiting", NOT_COMPARED)
    assert NOT_COMPARED not in judge(replace(exam, comparing_since=None), since + 60, settings).flagged
    compare_once(ledger, spool, NOW)
    with ledger.read() as connection:
        assert comparisons.waiting_since(connection, exam_uid) is None
