"""Headers are read by processes beside the indexer; one that dies of a file has that file set aside, and no other."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.schema import Log
from daemon.indexing.header_pool import HeaderPool, HeadersNotRead
from daemon.indexing.line_reading import Rules, arrival_of, brings_file
from daemon.recovery import unreadable_files
from daemon.spool import Description, Entry, JournalWriter, Spool, read_journals
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image
from tests.support.poison import DEADLY

# The reader of a file that holds the word POISON never comes to an end, and may use no processor time for long.
ENDLESS = (
    DEADLY.replace("os.abort()", "while True: pass")
    + """
from daemon.indexing import header_process
header_process.HEADER_CPU_S = 0
"""
)


def received(spool: Spool, *comments: str) -> list[Entry]:
    """Slices of one exam in the spool; their journal's lines."""
    journal = JournalWriter(spool.journal, "SENDER", "10.0.0.1")
    for number, comment in enumerate(comments, start=1):
        data_set = mr_image(f"1.2.3.1.{number}")
        data_set.ImageComments = comment
        spool.put(Description(MR_IMAGE, f"1.2.3.1.{number}", EXPLICIT_LE), encoded(data_set), journal)
    journal.close("released")
    return [entry for entry in read_journals(spool.root, {}) if brings_file(entry)]


def in_every_process(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Have Python processes that are started from now on run `code` first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_processes_read_what_the_indexer_itself_reads(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    lines = received(spool, *["fine"] * 60)
    with HeaderPool(spool.root, Log(), time.time, processes=2) as readers:
        assert readers.read(lines, Rules(), 5.0) == [arrival_of(spool, line, Rules(), 5.0) for line in lines]
        assert readers.read([], Rules(), 5.0) == []


@pytest.mark.parametrize(
    ("code", "name"), [(DEADLY, "SIGABRT"), (ENDLESS, "SIGXCPU")], ids=["crash", "too much processor time"]
)
def test_a_file_that_kills_its_reader_twice_is_set_aside_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, name: str
) -> None:
    in_every_process(monkeypatch, tmp_path / "site", code)
    spool = Spool(tmp_path / "spool")
    lines = received(spool, "fine", "POISON", "fine")
    with HeaderPool(spool.root, Log(), time.time, processes=1) as readers, capture_logs():
        arrivals = readers.read(lines, Rules(), 5.0)
    facts = [arrival.facts is not None for arrival in arrivals if arrival is not None]
    assert facts == [True, False, True]
    (record,) = unreadable_files.set_aside(spool.root)
    assert (record.sop_uid, record.signal, len(record.deaths)) == ("1.2.3.1.2", name, 2)


def test_where_no_process_can_start_the_lines_stay_in_their_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_every_process(monkeypatch, tmp_path / "site", "import os; os._exit(1)")
    spool = Spool(tmp_path / "spool")
    lines = received(spool, "fine")
    with HeaderPool(spool.root, Log(), time.time, processes=1) as readers, pytest.raises(HeadersNotRead):
        readers.read(lines, Rules(), 5.0)
