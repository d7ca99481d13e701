"""The store of instances: names, exclusivity, bytes as sent."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemon.spool import Description, JournalWriter, Spool, check_usable, is_uid, read_journals, read_meta, uid_hash
from daemon.spool.part10 import header
from daemon.spool.sync import Syncer
from pipeline.errors import InputRejected, NotDicom
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
TITLES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789", min_size=1, max_size=16)


def described(uid: str = "1.2.3", ae: str = "SCANNER") -> Description:
    return Description(MR_IMAGE, uid, EXPLICIT_LE, ae)


@given(UIDS, UIDS, TITLES)
def test_the_header_reads_back_as_it_was_written(sop_class: str, uid: str, ae: str) -> None:
    raw = header(sop_class, uid, EXPLICIT_LE, ae)
    meta = read_meta(BytesIO(raw + b"data"))
    assert (meta.sop_class_uid, meta.sop_instance_uid) == (sop_class, uid)
    assert (meta.transfer_syntax_uid, meta.source_ae_title) == (EXPLICIT_LE, ae)
    assert meta.data_set_offset == len(raw)


def test_a_stored_file_is_one_that_pydicom_reads_with_the_data_set_as_it_was_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sent = encoded(mr_image("1.2.3"))
    stored = spool.put(described(), sent)
    path = tmp_path / stored.path
    assert path.read_bytes().endswith(sent)
    assert stored.digest == hashlib.sha256(sent).hexdigest() == path.stem
    read = pydicom.dcmread(path)
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert read.file_meta.SourceApplicationEntityTitle == "SCANNER"


def test_the_path_is_made_of_digests_alone(tmp_path: Path) -> None:
    stored = Spool(tmp_path).put(described("1.2.3"), b"x" * 10)
    hashed = hashlib.sha256(b"1.2.3").hexdigest()[:32]
    assert stored.path == f"instances/{hashed[:2]}/{hashed}/{hashlib.sha256(b'x' * 10).hexdigest()}.dcm"


def test_the_same_data_set_twice_is_one_file_even_from_another_sender(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = spool.put(described(ae="ONE"), b"same")
    second = spool.put(described(ae="TWO"), b"same")
    assert (first.new, second.new) == (True, False)
    assert first.path == second.path
    assert list(spool.walk()) == [first.path]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_another_data_set_under_the_same_uid_is_kept_beside_the_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first, second = spool.put(described(), b"one"), spool.put(described(), b"two")
    assert first.new
    assert second.new
    assert set(spool.find("1.2.3")) == {tmp_path / first.path, tmp_path / second.path}


def test_many_threads_with_the_same_instance_make_one_file_and_one_of_them_is_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(spool.put(described(), b"same").new)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 15 + [True]


def test_a_folder_that_vanishes_while_a_file_goes_in_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    incoming = spool.begin(described())
    incoming.write(b"data")
    hashed = uid_hash("1.2.3")
    (tmp_path / "instances" / hashed[:2] / hashed).rmdir()
    (tmp_path / "instances" / hashed[:2]).rmdir()
    assert spool.verify(incoming.keep().path)
    incoming.discard()


def test_verify_notices_a_changed_byte_a_torn_file_and_a_missing_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = spool.put(described(), b"0123456789")
    path = tmp_path / stored.path
    whole = path.read_bytes()
    assert spool.verify(stored.path)
    for damaged in (whole[:-1] + b"!", whole[:-3], whole[:100], b""):
        path.write_bytes(damaged)
        assert not spool.verify(stored.path)
    path.unlink()
    assert not spool.verify(stored.path)


@pytest.mark.parametrize("torn", [b"", b"\0" * 500])
def test_a_file_that_a_power_cut_has_torn_is_replaced_when_the_same_comes_again(tmp_path: Path, torn: bytes) -> None:
    spool = Spool(tmp_path)
    first = spool.put(described(), b"0123456789")
    (tmp_path / first.path).write_bytes(torn)
    again = spool.put(described(), b"0123456789")
    assert again.new
    assert spool.verify(first.path)
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("synced", [False, True])
def test_an_empty_data_set_still_makes_a_file_with_a_header(tmp_path: Path, synced: bool) -> None:
    spool = Spool(tmp_path)
    stored = spool.put(described(), b"", synced=synced)
    with (tmp_path / stored.path).open("rb") as file:
        assert read_meta(file).sop_instance_uid == "1.2.3"


def test_removing_an_instance_removes_its_folder_unless_another_data_set_lies_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first, second = spool.put(described(), b"one"), spool.put(described(), b"two")
    spool.remove(first.path)
    assert list(spool.walk()) == [second.path]
    spool.remove(second.path)
    assert not (tmp_path / second.path).parent.exists()
    spool.remove(second.path)


def test_what_was_left_half_received_is_cleared_when_it_is_old(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    incoming = spool.begin(described())
    assert spool.clear_incoming() == 0
    assert spool.clear_incoming(older_than_s=0) == 1
    incoming.discard()


def test_a_file_is_ingested_with_its_data_set_untouched(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    source = tmp_path / "image.dcm"
    image = mr_image("1.2.9")
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = EXPLICIT_LE
    image.save_as(source, enforce_file_format=True)
    journal = JournalWriter(spool.journal, "INGEST", "")
    stored = spool.ingest_file(source, journal)
    journal.close("released")
    assert stored.digest == hashlib.sha256(encoded(mr_image("1.2.9"))).hexdigest()
    assert [e.event for e in read_journals(spool.root, {})] == ["opened", "stored", "closed"]


def test_files_that_are_no_dicom_come_back_with_the_reason_and_the_others_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    good, bad, evil = tmp_path / "good", tmp_path / "bad", tmp_path / "evil"
    good.write_bytes(header(MR_IMAGE, "1.2.3", EXPLICIT_LE, "X") + b"data")
    bad.write_bytes(b"not DICOM at all")
    evil.write_bytes(header(MR_IMAGE, "../../etc/passwd", EXPLICIT_LE, "X") + b"data")
    journal = JournalWriter(spool.journal, "INGEST", "")
    results = {path.name: result for path, result in spool.ingest([bad, evil, good], journal)}
    journal.close("released")
    assert isinstance(results["bad"], NotDicom)
    assert isinstance(results["evil"], NotDicom)
    assert len(list(spool.walk())) == 1


@given(st.binary(max_size=400))
def test_any_bytes_after_the_prefix_are_a_meta_group_or_not_dicom(tail: bytes) -> None:
    try:
        read_meta(BytesIO(b"\0" * 128 + b"DICM" + tail))
    except NotDicom as error:
        assert error.message  # noqa: PT017 - either outcome is right, a third is not


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.840.10008.1.1", True),
        ("0", True),
        ("1." * 31 + "12", True),
        ("1." * 32 + "1", False),
        ("", False),
        ("1..2", False),
        ("1.2.", False),
        ("1.2/3", False),
        ("../../etc/passwd", False),
        ("1.2.3\n", False),
        ("1.2.\u0663", False),
    ],
)
def test_a_uid_is_digits_and_dots_and_no_longer_than_64(text: str, valid: bool) -> None:
    assert is_uid(text) is valid


def test_a_round_of_syncing_serves_everyone_who_asked_before_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    running, go_on = threading.Event(), threading.Event()

    def sync(fd: int) -> None:
        rounds.append(fd)
        running.set()
        assert go_on.wait()

    monkeypatch.setattr("daemon.spool.sync.sync_file_system", sync)
    syncer = Syncer(tmp_path)
    first = syncer.begin()
    assert running.wait()
    second, third = syncer.begin(), syncer.begin()
    go_on.set()
    for number in (first, second, third):
        syncer.wait(number)
    assert second == third
    assert len(rounds) == 2


def test_a_round_that_fails_is_an_error_for_those_who_waited_for_it_and_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("daemon.spool.sync.sync_file_system", sync)
    syncer = Syncer(tmp_path)
    with capture_logs() as logs:
        with pytest.raises(OSError, match="Input/output"):
            syncer.wait(syncer.begin())
        in_the_background = syncer.begin()
        with pytest.raises(OSError, match="Input/output"):
            syncer.wait(in_the_background)
    assert [(line["log_level"], line["error"]) for line in logs] == [("error", "EIO")] * 2


def test_every_round_asks_on_the_descriptor_that_was_open_while_files_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells an error of its own writing only to descriptors that were open then."""
    asked: list[str] = []
    opened: list[str] = []
    real = os.open
    syncer = Syncer(tmp_path)
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more))
    monkeypatch.setattr(
        "daemon.spool.sync.sync_file_system", lambda fd: asked.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    for _ in range(2):
        syncer.wait(syncer.begin())
    assert asked == [str(tmp_path)] * 2
    assert opened == []


@pytest.mark.parametrize("taken", ["spool", "spool/instances", "spool/incoming"])
def test_a_spool_that_cannot_be_one_is_said_with_its_path_and_the_reason(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("a file")
    with pytest.raises(
        InputRejected, match=r"spool .*/spool cannot be used: (Not a directory|File exists); .*spool\.path"
    ):
        check_usable(tmp_path / "spool")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "Read-only file system"), (errno.EPERM, "not permitted"), (errno.ENOTSUP, "not supported")],
)
def test_a_spool_without_writing_or_hard_links_is_refused_before_anything_is_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("daemon.spool.usable.os.link", link)
    with pytest.raises(InputRejected, match=words):
        check_usable(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_spool_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.spool.usable.os.access", lambda *_: False)
    with pytest.raises(InputRejected, match="Permission denied"):
        check_usable(tmp_path)


def test_a_full_disk_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("daemon.spool.usable.os.link", link)
    check_usable(tmp_path)


def test_listening_with_a_spool_that_cannot_be_one_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "axrad.toml").write_text(f'[spool]\npath = "{tmp_path / "file"}"\n[listen]\nport = 0\n')
    program = "from daemon.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "listen", "--config", str(tmp_path / "axrad.toml")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"axrad: spool.path: {tmp_path / 'file'} is a file; a folder is needed\n"
    assert "Traceback" not in done.stderr
