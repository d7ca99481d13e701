"""Journals: whole lines only, read again and again, finished when their writer is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.spool import Entry, JournalWriter, Spool, is_finished, journal_names, read_journals, retire


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def bare_root(factory: pytest.TempPathFactory) -> Path:
    """Just what a journal needs, since property tests make many."""
    root = factory.mktemp("root")
    (root / "journal").mkdir()
    return root


def read_all(spool: Spool, positions: dict[str, int]) -> list[Entry]:
    """As the indexer does: take what is new and remember how far one got."""
    entries = list(read_journals(spool.root, positions))
    for entry in entries:
        positions[entry.journal] = entry.end
    return entries


def test_an_association_that_brings_nothing_leaves_no_journal(spool: Spool) -> None:
    JournalWriter(spool.journal, "PACS", "10.0.0.1").close("released")
    assert journal_names(spool.journal) == []


def test_each_entry_is_read_once_while_the_journal_grows(spool: Spool) -> None:
    positions: dict[str, int] = {}
    journal = JournalWriter(spool.journal, "PACS", "10.0.0.1")
    journal.append("stored", path="a", size=1)
    assert [e.event for e in read_all(spool, positions)] == ["opened", "stored"]
    assert read_all(spool, positions) == []
    journal.append("duplicate", path="b")
    journal.close("released")
    entries = read_all(spool, positions)
    assert [(e.event, e.path, e.how) for e in entries] == [("duplicate", "b", None), ("closed", None, "released")]
    assert {e.calling_ae for e in entries} == {"PACS"}


@given(cut=st.integers(0, 400))
@settings(max_examples=60)
def test_a_journal_torn_anywhere_gives_the_whole_lines_before_the_tear(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    root = bare_root(tmp_path_factory)
    journal = JournalWriter(root / "journal", "PACS", "10.0.0.1")
    journal.append("stored", path="a")
    journal.append("stored", path="b")
    journal.close("released")
    raw = journal.path.read_bytes()
    journal.path.write_bytes(raw[:cut])
    entries = list(read_journals(root, {}))
    assert len(entries) == raw[:cut].count(b"\n")
    assert [e.end for e in entries] == [i + 1 for i, byte in enumerate(raw[:cut]) if byte == 10]


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_damaged_lines_are_skipped_and_later_ones_are_read(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    root = bare_root(tmp_path_factory)
    journal = JournalWriter(root / "journal", "PACS", "10.0.0.1")
    journal.append("stored", path="a")
    journal.close("released")
    good = journal.path.read_bytes()
    journal.path.write_bytes(junk.replace(b"\n", b"") + b"\n" + good)
    assert [e.event for e in read_journals(root, {})][-3:] == ["opened", "stored", "closed"]


STORED = {"ts": 1.0, "event": "stored", "association": "a", "path": "p", "sop_instance_uid": "1.2", "digest": "d"}
NO_ENTRIES = [
    *({**STORED, "ts": value} for value in ("1", None, [1], float("nan"), float("inf"), 10**400)),
    *({**STORED, name: ["x"]} for name in ("association", "event", "path", "sop_instance_uid", "calling_ae", "role")),
    *({**STORED, "path": value} for value in ("../../etc/passwd", "/etc/passwd", "a/../../b", "p\0")),
    *({**STORED, "sop_instance_uid": value} for value in (5, "\ud800", "1.2\0")),
    *({**STORED, "event": "commitment", "committed": value} for value in (5, [["1.2"]], [None])),
    {**STORED, "size": "9"},
]


@pytest.mark.parametrize("raw", [*(json.dumps(line).encode() for line in NO_ENTRIES), b"[" * 100_000])
def test_a_line_with_values_of_the_wrong_kind_is_no_entry_and_the_next_one_is_read(spool: Spool, raw: bytes) -> None:
    (spool.journal / "1.jsonl").write_bytes(raw + b"\n" + json.dumps(STORED).encode() + b"\n")
    assert [(e.path, e.digest) for e in read_journals(spool.root, {})] == [("p", "d")]


def test_a_line_that_the_disk_had_no_room_for_does_not_spoil_the_next(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalWriter(spool.journal, "PACS", "10.0.0.1")
    journal.append("stored", path="a")
    real_write = os.write
    monkeypatch.setattr("daemon.spool.journal.os.write", lambda fd, raw: real_write(fd, raw[:20]))
    with pytest.raises(OSError, match="whole"):
        journal.append("stored", path="b")
    monkeypatch.undo()
    journal.append("stored", path="c")
    journal.close("released")
    assert [e.path for e in read_journals(spool.root, {}) if e.event == "stored"] == ["a", "c"]


def test_a_journal_is_finished_when_it_is_closed_and_not_before(spool: Spool) -> None:
    journal = JournalWriter(spool.journal, "PACS", "10.0.0.1")
    journal.append("stored", path="a")
    assert not is_finished(spool.root, journal.path.name)
    journal.close("released")
    assert is_finished(spool.root, journal.path.name)
    retire(spool.root, journal.path.name)
    assert journal_names(spool.journal) == []
    assert is_finished(spool.root, journal.path.name)


def test_a_journal_whose_process_was_killed_is_finished_without_being_closed(spool: Spool) -> None:
    program = (
        "import sys, time, pathlib; from daemon.spool import JournalWriter\n"
        "j = JournalWriter(pathlib.Path(sys.argv[1]), 'PACS', '10.0.0.1'); j.append('stored', path='a')\n"
        "print('written', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(spool.journal)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        (name,) = journal_names(spool.journal)
        assert not is_finished(spool.root, name)
        process.send_signal(signal.SIGKILL)
    assert is_finished(spool.root, name)
    assert [e.event for e in read_journals(spool.root, {})] == ["opened", "stored"]


def test_journals_are_read_oldest_first(spool: Spool) -> None:
    for number in (3, 1, 2):
        journal = JournalWriter(spool.journal, "PACS", "", association=f"{number:013d}-x")
        journal.append("stored", path=str(number))
        journal.close("released")
    assert [e.path for e in read_journals(spool.root, {}) if e.event == "stored"] == ["1", "2", "3"]
