"""Every answer to a C-STORE, without a network: which status, what is kept, what is said."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.schema import Listen, Settings
from daemon.listener import statuses
from daemon.listener.command import StoreRequest
from daemon.listener.storing import AssociationStore, NegotiatedContext
from daemon.spool import Entry, Spool, Syncer, read_journals
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

MR = NegotiatedContext(MR_IMAGE, EXPLICIT_LE, may_store=True)


def request(uid: str = "1.2.3", sop_class: str = MR_IMAGE, has_data_set: bool = True) -> StoreRequest:
    return StoreRequest(1, sop_class, uid, 0, has_data_set, "")


class Bench:
    """One association's store on a fresh spool."""

    def __init__(self, root: Path, *, disk_refuses: Callable[[], bool] = lambda: False, **listen: object) -> None:
        self.spool = Spool(root)
        settings = Settings(listen=Listen.model_validate({"durability": "none", **listen}))
        self.store = AssociationStore(self.spool, settings, disk_refuses, Syncer(root), "SCANNER", "10.0.0.1")

    def send(
        self, data: bytes, asked: StoreRequest | None = None, context: NegotiatedContext = MR, pieces: int = 3
    ) -> int:
        self.store.begin(asked or request(), context)
        size = max(1, len(data) // pieces)
        for start in range(0, len(data), size):
            self.store.data(memoryview(data)[start : start + size])
        status = self.store.end()[0]
        self.store.discard_incoming()
        return status

    @property
    def entries(self) -> list[Entry]:
        return list(read_journals(self.spool.root, {}))

    @property
    def files(self) -> list[str]:
        return list(self.spool.walk())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_instance_is_kept_and_noted_before_success_is_answered(bench: Bench) -> None:
    sent = encoded(mr_image("1.2.3"))
    assert bench.send(sent) == statuses.SUCCESS
    (opened, stored) = bench.entries
    assert opened.event == "opened"
    assert (stored.event, stored.path, stored.size) == ("stored", bench.files[0], len(sent))
    assert (stored.sop_instance_uid, stored.calling_ae, stored.address) == ("1.2.3", "SCANNER", "10.0.0.1")
    assert bench.spool.verify(bench.files[0])


def test_the_same_instance_again_is_success_and_nothing_new(bench: Bench) -> None:
    sent = encoded(mr_image())
    assert [bench.send(sent), bench.send(sent)] == [statuses.SUCCESS] * 2
    assert [e.event for e in bench.entries] == ["opened", "stored", "duplicate"]
    assert len(bench.files) == 1


def test_another_data_set_under_the_same_uid_is_success_and_both_are_kept(bench: Bench) -> None:
    assert bench.send(encoded(mr_image(pixels=b"\1\2" * 16))) == statuses.SUCCESS
    assert bench.send(encoded(mr_image(pixels=b"\3\4" * 16))) == statuses.SUCCESS
    assert [e.event for e in bench.entries] == ["opened", "stored", "stored"]
    assert len(bench.files) == 2


def without(keyword: str) -> bytes:
    image = mr_image()
    delattr(image, keyword)
    return encoded(image)


REFUSED = [
    (statuses.BAD_INSTANCE_UID, request("../../../etc/passwd"), MR, encoded(mr_image())),
    (statuses.BAD_INSTANCE_UID, request("1." * 40 + "1"), MR, encoded(mr_image())),
    (statuses.BAD_INSTANCE_UID, request(""), MR, encoded(mr_image())),
    (statuses.BAD_CLASS_UID, request(sop_class="/dev/null"), MR, encoded(mr_image())),
    (statuses.CLASS_NOT_OF_CONTEXT, request(sop_class="1.2.840.10008.5.1.4.1.1.2"), MR, encoded(mr_image())),
    (
        statuses.NOT_AUTHORISED,
        request(),
        NegotiatedContext(MR_IMAGE, EXPLICIT_LE, may_store=False),
        encoded(mr_image()),
    ),
    (statuses.NO_DATA_SET, request(has_data_set=False), MR, b""),
    (statuses.NO_DATA_SET, request(), MR, b""),
    (statuses.NOT_UNDERSTOOD, request(), MR, b"GIF89a" * 20),
    (statuses.NO_IDENTITY, request(), MR, without("SOPInstanceUID")),
    (statuses.NO_IDENTITY, request(), MR, without("SOPClassUID")),
    (statuses.OTHER_INSTANCE, request("1.2.999"), MR, encoded(mr_image("1.2.3"))),
    (statuses.OTHER_CLASS, request(), MR, encoded(mr_image(sop_class_uid="1.2.840.10008.5.1.4.1.1.2"))),
]


@pytest.mark.parametrize(("refusal", "asked", "context", "data"), REFUSED)
def test_each_refusal_has_its_status_one_log_line_and_leaves_no_file(
    bench: Bench, refusal: statuses.Refusal, asked: StoreRequest, context: NegotiatedContext, data: bytes
) -> None:
    with capture_logs() as logs:
        assert bench.send(data, asked, context) == refusal.status
    (line,) = logs
    assert (line["status"], line["reason"]) == (f"{refusal.status:04X}", refusal.reason)
    assert not any(secret in str(line) for secret in ("Secret", "SECRET", "passwd"))
    assert bench.files == []
    assert list((bench.spool.root / "instances").glob("*/*")) == []
    assert list((bench.spool.root / "incoming").iterdir()) == []
    assert [e.status for e in bench.entries if e.event == "refused"] == [refusal.status]


def test_no_two_refusals_share_a_status_and_each_comment_fits_its_element() -> None:
    assert len({refusal.status for refusal in statuses.ALL}) == len(statuses.ALL)
    assert all(0 < len(refusal.comment) <= 64 for refusal in statuses.ALL)


def test_after_a_refusal_the_next_instance_is_taken(bench: Bench) -> None:
    assert bench.send(b"GIF89a" * 20) == statuses.NOT_UNDERSTOOD.status
    assert bench.send(encoded(mr_image())) == statuses.SUCCESS


def test_an_instance_larger_than_the_limit_is_dropped_as_soon_as_that_is_known(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_instance_bytes=1000)
    bench.store.begin(request(), MR)
    bench.store.data(memoryview(encoded(mr_image(pixels=b"\0" * 2000))))
    assert list((tmp_path / "incoming").iterdir()) == []
    assert bench.store.end()[0] == statuses.TOO_LARGE.status


def test_below_the_watermark_instances_are_refused_so_that_the_sender_comes_back(tmp_path: Path) -> None:
    full = [True]
    bench = Bench(tmp_path, disk_refuses=lambda: full[0])
    assert bench.send(encoded(mr_image())) == statuses.DISK_LOW.status
    full[0] = False
    assert bench.send(encoded(mr_image())) == statuses.SUCCESS


@pytest.mark.parametrize("call", ["writev", "link", "open", "mkdir"])
def test_a_disk_that_fails_anywhere_is_out_of_resources_and_never_success(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*arguments: object, **more: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"daemon.spool.incoming.os.{call}", fails)
    assert bench.send(encoded(mr_image())) == statuses.WRITE_FAILED.status
    monkeypatch.undo()
    assert bench.files == []
    assert bench.send(encoded(mr_image())) == statuses.SUCCESS


def test_a_journal_that_cannot_be_written_is_no_success(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("daemon.spool.journal.os.write", fails)
    assert bench.send(encoded(mr_image())) == statuses.WRITE_FAILED.status


def synced_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, in order, by name of descriptor."""
    seen: list[str] = []
    real = os.fsync

    def note(fd: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr("os.fsync", note)
    return seen


def test_durability_instance_syncs_file_folders_and_journal_before_each_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, durability="instance")
    seen = synced_paths(monkeypatch)
    assert bench.send(encoded(mr_image())) == statuses.SUCCESS
    file = tmp_path / bench.files[0]
    assert "incoming" in seen[0]
    for path in (file.parent, file.parent.parent, file.parent.parent.parent, tmp_path / "journal"):
        assert str(path) in seen
    assert str(bench.store.journal.path) in seen


def test_durability_instance_syncs_a_duplicate_too_since_its_first_writer_may_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bench(tmp_path, durability="none").send(encoded(mr_image()))
    bench = Bench(tmp_path, durability="instance")
    seen = synced_paths(monkeypatch)
    assert bench.send(encoded(mr_image())) == statuses.SUCCESS
    assert str(tmp_path / bench.files[0]) in seen


@pytest.mark.parametrize(("durability", "rounds"), [("association", 1), ("none", 0), ("instance", 0)])
def test_durability_association_syncs_once_and_only_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, rounds: int
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        "daemon.spool.sync.sync_file_system", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    bench = Bench(tmp_path, durability=durability)
    for number in range(5):
        bench.send(encoded(mr_image(f"1.2.{number}")), request(f"1.2.{number}"))
    assert synced == []
    bench.store.close("released")
    bench.store.close("aborted")
    assert synced == [str(tmp_path)] * rounds
    assert [e.how for e in bench.entries if e.event == "closed"] == ["released"]


def test_an_association_that_breaks_off_leaves_its_whole_instances_and_not_the_half_one(bench: Bench) -> None:
    bench.send(encoded(mr_image("1.2.3")))
    bench.store.begin(request("1.2.4"), MR)
    bench.store.data(memoryview(encoded(mr_image("1.2.4")))[:50])
    bench.store.close("aborted")
    assert len(bench.files) == 1
    assert list((bench.spool.root / "incoming").iterdir()) == []
    assert [e.event for e in bench.entries] == ["opened", "stored", "closed"]
