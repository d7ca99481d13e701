"""A ledger with finished results, and deliveries that are made one at a time under a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from config.schema import Settings
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.deliveries import due, objects_of
from daemon.ledger.tables import deliveries, events, revisions, studies
from daemon.work import deliver
from daemon.work.context import Context
from daemon.work.correction import kinds_for
from daemon.work.failure import TaskFailed
from daemon.work.object_sets import SETS_FILE, number_of, to_bytes
from tests.support.archives import COMPREHENSIVE_SR, SECONDARY_CAPTURE

START = 1_800_000_000.0
CLASSES = {"sr": COMPREHENSIVE_SR, "page": SECONDARY_CAPTURE}


@dataclass
class Desk:
    """`now` is the time. `announced`: what the work wanted done next."""

    context: Context
    now: float = START
    announced: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger

    def result(
        self,
        number: int = 1,
        study: str = "1",
        objects: Mapping[str, bytes] | None = None,
        sets: Mapping[str, int] | None = None,
    ) -> str:
        """A finished revision with its objects (small ones, if none are given), and a delivery to every destination.

        `sets`: the number of the sets of each destination. Gives the revision's id; a delivery's id is that, a hyphen,
        and the destination's name.
        """
        revision_id = f"r{study}-{number}"
        folder = self.context.result_folder(revision_id)
        folder.mkdir(parents=True)
        for kind, data in (objects or {}).items():
            (folder / f"{kind}.dcm").write_bytes(data)
        for kind in () if objects else CLASSES:
            small_object(kind, f"1.2.{study}", number).save_as(folder / f"{kind}.dcm", enforce_file_format=True)
        (folder / SETS_FILE).write_bytes(to_bytes(dict(sets or {})))
        with self.ledger.write() as connection:
            if number == 1:
                connection.execute(
                    studies.insert().values(
                        id=f"s{study}",
                        study_uid=f"1.2.{study}",
                        state="reported",
                        patient_key="k",
                        first_arrival_at=self.now,
                        last_arrival_at=self.now,
                        changed_at=self.now,
                    )
                )
            connection.execute(
                revisions.insert().values(
                    id=revision_id,
                    study_id=f"s{study}",
                    number=number,
                    input_digest="d",
                    inputs={"selected": [], "context": []},
                    state="reported",
                    stage="done",
                    created_at=self.now,
                    next_attempt_at=self.now,
                )
            )
            for destination in self.context.settings.destination:
                connection.execute(
                    deliveries.insert().values(
                        id=f"{revision_id}-{destination.name}",
                        revision_id=revision_id,
                        destination=destination.name,
                        state="pending",
                        objects=kinds_for(
                            destination,
                            list(objects or CLASSES),
                            self.context.settings,
                            number_of(self.context.files, revision_id, destination.name),
                        ),
                        created_at=self.now,
                        next_attempt_at=self.now,
                    )
                )
        return revision_id

    def take(self, task: str, row_id: str) -> bool:
        """Stands for the broker."""
        self.announced.append((task, row_id))
        return True

    def file(self, revision_id: str, kind: str) -> Path:
        return self.context.result_folder(revision_id) / f"{kind}.dcm"

    def deliver(self, delivery_id: str) -> str:
        """Try once; the failure's code, or nothing."""
        try:
            deliver.run(self.context, delivery_id)
        except TaskFailed as failed:
            return failed.code
        return ""

    def row(self, delivery_id: str) -> Any:
        with self.ledger.read() as connection:
            return connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()

    def objects(self, delivery_id: str) -> dict[str, Any]:
        with self.ledger.read() as connection:
            return objects_of(connection, delivery_id)

    def state_of(self, study: str = "s1") -> str:
        with self.ledger.read() as connection:
            return str(connection.execute(sa.select(studies.c.state).where(studies.c.id == study)).scalar_one())

    def due(self) -> list[str]:
        with self.ledger.read() as connection:
            return [row.id for row in due(connection, self.context.settings, self.now, 100)]

    def notes(self) -> list[str]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(events.c.kind).order_by(events.c.id)).scalars())

    def wait_until_due(self, delivery_id: str) -> None:
        """Move the clock to the next attempt."""
        self.now = max(self.now, float(self.row(delivery_id).next_attempt_at))


def desk(folder: Path, *destinations: dict[str, Any], **sections: Any) -> Desk:
    """A desk over a ledger in `folder`. Destinations need a name and a port, or a pacs; waits are short."""
    waits = {"ae_title": "ARCHIVE", "host": "127.0.0.1", "connect_timeout_s": 2, "answer_timeout_s": 1.5}
    filled = [{**({} if "pacs" in d else waits), **d} for d in destinations]
    settings = Settings.model_validate(
        {"spool": {"path": folder / "spool"}, "destination": filled, "work": {"backoff_s": 10}, **sections}
    )
    made: list[Desk] = []
    context = Context(settings, open_ledger(settings), lambda: made[0].now, lambda task, row: made[0].take(task, row))
    made.append(Desk(context))
    return made[0]


def small_object(kind: str, study_uid: str, number: int) -> Dataset:
    """Just enough of an SR or a Secondary Capture for an archive to file it."""
    ds = Dataset()
    ds.SOPClassUID = CLASSES[kind]
    ds.SOPInstanceUID = f"{study_uid}.{number}.{1 + list(CLASSES).index(kind)}"
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = f"{ds.SOPInstanceUID}.9"
    ds.PatientID, ds.PatientName, ds.Modality = "TEST", "Test^Patient", "SR" if kind == "sr" else "OT"
    if kind == "page":
        ds.Rows = ds.Columns = 256
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.SamplesPerPixel, ds.PixelRepresentation = 7, 1, 0
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.PixelData = bytes(range(256)) * 256
        ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def data_set_bytes(path: Path) -> bytes:
    """The data set of a file, without preamble and file meta information."""
    from pynetdicom.dsutils import split_dataset

    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]
