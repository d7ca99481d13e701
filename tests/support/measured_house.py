"""One exam in which a reader measured and nobody drew, in a ledger, with an archive; step by step, at its own time."""

from __future__ import annotations

import contextlib
import io
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import sqlalchemy as sa
from click.testing import CliRunner

from config.schema import Settings
from daemon.feedback.feedback_records import collect
from daemon.indexing.indexer import index_once
from daemon.ledger import open_ledger, proposals, studies
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import deliveries, revisions
from daemon.spool import JournalWriter, Spool
from daemon.work import analyse, deliver, propose, report
from daemon.work.assessed_proposals import Words
from daemon.work.context import Context
from daemon.work.failure import TaskFailed
from daemon.work.sweep import announce_due, assemble
from pipeline.catalog.own_mark import has_mark
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from pipeline.result import StudyResult
from tests.support.archives import COMPREHENSIVE_SR, SECONDARY_CAPTURE, Archive
from tests.support.archives import archive as running_archive

QUIET_S = 300.0
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
CLASSES = (COMPREHENSIVE_SR, SECONDARY_CAPTURE, KEY_OBJECTS)
SETTINGS = """
[spool]
path = "{folder}/spool"
[audit]
path = "{folder}/audit.jsonl"
[proposal]
enabled = true
{policy}
[features]
set = "signature"
[bias]
sequences = []
[signature]
allow_origins = ["measured"]
max_outside = 1.0
max_distance = 1e9
[[destination]]
name = "pacs"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {port}
what = ["sr", "proposal"]
{goes}
"""
SENT = "measurements are here, proposal sent, waits for confirmation"


@dataclass
class House:
    """One exam in a ledger, whose work is done step by step at a time of the test's own."""

    context: Context
    archive: Archive
    exam: PhantomExam
    measurements: Path
    config: Path
    later_s: float = 0.0
    announced: list[tuple[str, str]] = field(default_factory=list)

    def ingest(self, *paths: Path, ae: str = "VIEWER") -> None:
        spool = Spool(self.context.settings.spool.path)
        journal = JournalWriter(spool.journal, ae, "127.0.0.1")
        outcomes = [outcome for _, outcome in spool.ingest(paths, journal)]
        journal.close("released")
        assert not [o for o in outcomes if isinstance(o, Exception)]
        self.index()

    def index(self) -> None:
        settings, spool = self.context.settings, Spool(self.context.settings.spool.path)
        key = key_for(settings, self.context.ledger, self.context.clock())
        index_once(self.context.ledger, spool, self.context.clock(), settings, key)
        collect(
            self.context.ledger,
            spool.root,
            self.context.clock(),
            settings,
            key,
            Words(self.context.ledger, settings, key),
        )
        index_once(self.context.ledger, spool, self.context.clock(), settings, key)

    def pass_time(self, seconds: float) -> None:
        self.later_s += seconds

    def judge(self) -> Any:
        """Judge, do what is queued, and judge again; the study's row."""
        for _ in range(3):
            assemble(self.context)
            announce_due(self.context)
            for task, row in self.announced:
                if task == "axrad.propose":
                    with contextlib.suppress(TaskFailed):
                        propose.run(self.context, row)
            self.announced.clear()
            self.index()
        with self.context.ledger.read() as connection:
            return studies.find(connection, self.exam.study_uid)

    def report(self) -> StudyResult:
        """Of the newest revision."""
        with self.context.ledger.read() as connection:
            newest = sa.select(revisions.c.id).order_by(revisions.c.number.desc()).limit(1)
            revision = str(connection.execute(newest).scalar_one())
        analyse.run(self.context, revision)
        report.run(self.context, revision)
        return StudyResult.from_json((self.context.result_folder(revision) / "result.json").read_bytes())

    def deliver(self) -> list[pydicom.Dataset]:
        """What is open; what the archive has been sent by it."""
        before = len(self.archive.received)
        with self.context.ledger.read() as connection:
            opened = connection.execute(sa.select(deliveries.c.id).where(deliveries.c.state == "pending")).scalars()
        for delivery in list(opened):
            deliver.run(self.context, delivery)
        return [pydicom.dcmread(io.BytesIO(data), force=True) for _, data in self.archive.received[before:]]

    def proposals(self) -> list[pydicom.Dataset]:
        """What the archive was sent, in order."""
        sent = [pydicom.dcmread(io.BytesIO(data), force=True) for _, data in self.archive.received]
        return [ds for ds in sent if ds.Modality == "SEG" and has_mark(ds)]

    def copy_of_proposal(self, name: str, changed: bool = False) -> Path:
        """As a viewer saves it: other UIDs and maker, labels kept, nothing else that says what it was."""
        ds = pydicom.dcmread(io.BytesIO(self.archive.received[0][1]), force=True)
        with self.context.ledger.read() as connection:
            row = proposals.newest(connection, self.study_id())
        assert row is not None
        ds = pydicom.dcmread(self.context.result_folder(row.id) / "proposal.dcm")
        ds.remove_private_tags()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{len(name)}"
        ds.SeriesInstanceUID, ds.Manufacturer = f"2.25.78{len(name)}", "Viewer"
        for segment in ds.SegmentSequence:
            for keyword in ("SegmentationAlgorithmIdentificationSequence", "TrackingID", "TrackingUID"):
                segment.pop(keyword, None)
            segment.SegmentAlgorithmType = "MANUAL"
        if changed:
            bits = np.frombuffer(ds.PixelData, np.uint8).copy()
            bits[: len(bits) // 2][bits[: len(bits) // 2] == 255] = 254
            assert bits.tobytes() != ds.PixelData
            ds.PixelData = bits.tobytes()
        path = self.measurements.with_name(f"{name}.dcm")
        ds.save_as(path, enforce_file_format=True)
        return path

    def study_id(self) -> str:
        with self.context.ledger.read() as connection:
            row = studies.find(connection, self.exam.study_uid)
        assert row is not None
        return row.id


@contextlib.contextmanager
def a_house(tmp_path: Path, policy: str = "", goes: str = "") -> Iterator[House]:
    """`policy`: further settings of `[proposal]`; `goes`: of the destination, and what follows it."""
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=23, preset="small", laterality="L", with_seg=False))
    measurements = write_measurements(exam)
    with running_archive(classes=(*CLASSES, SEGMENTATION)) as archive:
        config = tmp_path / "axrad.toml"
        goes = goes.format(port=archive.port)
        config.write_text(SETTINGS.format(folder=tmp_path, port=archive.port, policy=policy, goes=goes))
        document = tomllib.loads(config.read_text())
        settings = Settings.model_validate(document)
        made: list[House] = []
        context = Context(
            settings,
            open_ledger(settings),
            lambda: time.time() + made[0].later_s,
            lambda task, row: made[0].announced.append((task, row)) or True,
        )
        made.append(House(context, archive, exam, measurements, config))
        yield made[0]
        context.ledger.close()


def proposed(house: House) -> Any:
    house.ingest(*house.exam.paths, house.measurements)
    house.pass_time(200)
    assert house.judge().reason.startswith("measurements are here, regions are proposed when nothing has been measured")
    assert not house.archive.received
    house.pass_time(QUIET_S)
    return house.judge()


def order(house: House, command: Any, *arguments: str) -> Any:
    """What an operator types about the study of the house."""
    return CliRunner().invoke(command, ["--config", str(house.config), house.study_id(), *arguments])


def saved_again(house: House, name: str, off: float = 0.0) -> Path:
    """The measurements under a new UID, as OHIF saves them; the tumour's axes moved by `off` pixels."""
    again = pydicom.dcmread(house.measurements)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"2.25.99{len(name)}"
    for value in again.ContentSequence[-1].ContentSequence[0].ContentSequence if off else ():
        for drawn in value.get("ContentSequence", ()):
            drawn.GraphicData = [number + off for number in drawn.GraphicData]
    path = house.measurements.with_name(f"{name}.dcm")
    again.save_as(path, enforce_file_format=True)
    return path
