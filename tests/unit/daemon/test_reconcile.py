"""Spool and ledger held against each other: files without rows, rows without files, files that a power cut has torn."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from daemon.indexing.indexer import index_once
from daemon.indexing.pixel_comparison import compare_once
from daemon.indexing.reconcile import reconcile, verify_after_boot
from daemon.ledger import Ledger
from daemon.ledger.tables import instances, studies
from daemon.spool import Description, JournalWriter, Spool, Stored
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

NOW = 1_800_000_000.0


@dataclass
class House:
    ledger: Ledger
    spool: Spool

    def receive(self, uid: str, *, journaled: bool = True, pixels: bytes = b"\1\2" * 16) -> Stored:
        data = encoded(mr_image(uid, pixels=pixels))
        journal = JournalWriter(self.spool.journal, "SCU", "10.0.0.1") if journaled else None
        stored = self.spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCU"), data, journal)
        if journal is not None:
            journal.close("released")
        return stored

    def tear(self, stored: Stored, to: int = -1) -> None:
        file = self.spool.root / stored.path
        data = file.read_bytes()
        file.write_bytes(data[:to])

    def index(self) -> None:
        index_once(self.ledger, self.spool, NOW)

    def rows(self) -> list[Any]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(instances).order_by(instances.c.id)).all())

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]


@pytest.fixture
def house(ledger: Ledger, tmp_path: Path) -> House:
    return House(ledger, Spool(tmp_path / "spool"))


def test_a_file_that_no_journal_names_is_found(house: House) -> None:
    house.receive("1.2.3.1", journaled=False)
    house.index()
    assert house.rows() == []
    assert reconcile(house.ledger, house.spool, NOW) == (1, 0)
    assert house.states() == ["stored"]
    assert reconcile(house.ledger, house.spool, NOW) == (0, 0)


def test_a_row_whose_file_is_gone_is_lost_and_its_unfinished_exam_judged_again(house: House) -> None:
    stored = house.receive("1.2.3.1")
    house.index()
    with house.ledger.write() as connection:
        connection.execute(studies.update().values(dirty=False))
    house.spool.remove(stored.path)
    assert reconcile(house.ledger, house.spool, NOW) == (0, 1)
    assert house.states() == ["lost"]
    with house.ledger.read() as connection:
        assert connection.execute(sa.select(studies.c.dirty)).scalar_one()


@pytest.mark.parametrize("left", [0, 50, 200, -1], ids=["nothing", "preamble", "header", "all-but-a-byte"])
def test_a_file_that_was_torn_before_it_was_indexed_is_removed_and_taken_when_it_is_sent_again(
    house: House, left: int
) -> None:
    house.tear(house.receive("1.2.3.1"), left)
    house.index()
    assert house.states() == ["lost"]
    again = house.receive("1.2.3.1")
    assert again.new, "not answered as a duplicate of what is torn"
    house.index()
    (row,) = house.rows()
    assert (row.state, row.exam_uid, row.path) == ("stored", mr_image().StudyInstanceUID, again.path)


def test_a_torn_file_that_no_journal_names_is_removed(house: House) -> None:
    stored = house.receive("1.2.3.1", journaled=False)
    house.tear(stored)
    assert reconcile(house.ledger, house.spool, NOW) == (0, 0)
    assert list(house.spool.walk()) == []
    assert house.receive("1.2.3.1").new


def test_a_whole_file_that_is_no_image_stays(house: House) -> None:
    journal = JournalWriter(house.spool.journal, "SCU", "10.0.0.1")
    house.spool.put(Description(MR_IMAGE, "1.2.3.1", EXPLICIT_LE), b"this is no data set", journal)
    journal.close("released")
    house.index()
    assert house.states() == ["unreadable"]
    assert len(list(house.spool.walk())) == 1


def test_after_a_boot_what_was_torn_is_lost_and_after_a_restart_nothing_is_read(house: House) -> None:
    house.receive("1.2.3.1")
    torn = house.receive("1.2.3.2")
    house.index()
    assert verify_after_boot(house.ledger, house.spool, NOW, "first boot") == 0
    # As long, but not what came: blocks that were never written.
    file = house.spool.root / torn.path
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    assert verify_after_boot(house.ledger, house.spool, NOW, "first boot") == 0
    assert verify_after_boot(house.ledger, house.spool, NOW, "second boot") == 1
    assert sorted(house.states()) == ["lost", "stored"]
    assert not file.exists()
    assert verify_after_boot(house.ledger, house.spool, NOW, "second boot") == 0


def test_after_a_boot_a_file_that_cannot_be_read_keeps_none_from_being_verified(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, torn = house.receive("1.2.3.1"), house.receive("1.2.3.2", pixels=b"\3\4" * 16)
    house.index()
    verify_after_boot(house.ledger, house.spool, NOW, "boot 1")
    house.tear(torn)
    real = house.spool.verify

    def verify(path: str) -> bool:
        if path == bad.path:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(house.spool, "verify", verify)
    assert verify_after_boot(house.ledger, house.spool, NOW, "boot 2") == 1
    assert house.states() == ["stored", "lost"]


def test_two_data_sets_under_one_uid_are_compared_by_what_they_show(house: House) -> None:
    house.receive("1.2.3.1")
    data_set = mr_image("1.2.3.1")
    data_set.StudyDescription = "coerced"
    for data in (encoded(data_set), encoded(mr_image("1.2.3.1", pixels=b"\3\4" * 16))):
        journal = JournalWriter(house.spool.journal, "SCU", "10.0.0.1")
        house.spool.put(Description(MR_IMAGE, "1.2.3.1", EXPLICIT_LE), data, journal)
        journal.close("released")
        house.index()
    assert all("content_digest" not in row.facts["tags"] for row in house.rows())
    assert compare_once(house.ledger, house.spool, NOW) == 1
    contents = [row.facts["tags"]["content_digest"] for row in house.rows()]
    assert contents[0] == contents[1] != contents[2]
