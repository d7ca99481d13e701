"""Takes what an archive sends into the spool: only requested instances, within limits, while there is room.

An archive may be wrong, or not be the archive at all: what it sends counts as untrusted.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import structlog
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from config.schema import Settings
from daemon.fetch.plan import Batch, TooMuch
from daemon.machine import disk_space
from daemon.spool import Description, JournalWriter, Spool, read_meta
from daemon.spool.part10 import header
from daemon.spool.uids import is_uid
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.errors import NotDicom, PeerUnreachable, TryLater

log = structlog.get_logger("axrad.fetch")
CHUNK_BYTES = 1 << 20
# Of a deflated data set: study and series stand long before that.
MAX_INFLATED_HEAD_BYTES = 4 << 20


class NoRoom(TryLater):
    """The disk is too full to fetch anything."""

    code = "no-room"


class NotRequested(PeerUnreachable):
    """The archive sends an instance that was not requested."""

    code = "not-requested"


class InstanceTooLarge(PeerUnreachable):
    """The archive sends an instance of more than `listen.max_instance_bytes`."""

    code = "instance-too-large"


def require_room(spool: Spool, settings: Settings) -> None:
    """Raises NoRoom below the watermark at which senders are refused too."""
    if disk_space.level_of(disk_space.room(spool.root), settings.spool) == "fail":
        raise NoRoom("the spool's disk is too full to fetch images; `axrad doctor` shows how much is free")


class InstanceSink:
    """Stores the instances of `batches` under one journal."""

    def __init__(
        self, spool: Spool, journal: JournalWriter, settings: Settings, source_ae_title: str, batches: Sequence[Batch]
    ) -> None:
        self._spool, self._journal, self._settings = spool, journal, settings
        self._source_ae_title = source_ae_title
        self._sop_uids = {uid for batch in batches for uid in batch.sop_uids}
        self._whole = [batch for batch in batches if not batch.sop_uids]
        self._count = 0
        self.max_instance_bytes = settings.listen.max_instance_bytes

    def store_data_set(self, sop_class: str, sop_uid: str, syntax: str, data: bytes) -> None:
        """Store an encoded data set. Raises NotDicom, NotRequested, InstanceTooLarge, NoRoom, TooMuch."""
        if not (is_uid(sop_class) and is_uid(sop_uid) and is_uid(syntax)):
            raise NotDicom("the archive sent an instance whose UID is not a UID")
        if len(data) > self.max_instance_bytes:
            raise InstanceTooLarge(f"an instance has more than {self.max_instance_bytes} bytes")
        if sop_uid not in self._sop_uids and not self._is_of_whole_batch(sop_class, sop_uid, syntax, data):
            raise NotRequested("the archive sent an instance that was not requested")
        self._require_capacity()
        self._spool.put(Description(sop_class, sop_uid, syntax, self._source_ae_title), data, self._journal)

    def store_file(self, part: BinaryIO, sop_uid: str) -> None:
        """Store a DICOM file that must be the instance `sop_uid`. Raises NotDicom, NotRequested, NoRoom, TooMuch."""
        self._require_capacity()
        path = Path(f"{self._spool.temporary_name()}.part10")
        try:
            with path.open("wb") as file:
                while piece := part.read(CHUNK_BYTES):
                    file.write(piece)
            with path.open("rb") as file:
                if read_meta(file).sop_instance_uid != sop_uid:
                    raise NotRequested("the archive sent another instance than the one that was requested")
            self._spool.ingest_file(path, self._journal)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _require_capacity(self) -> None:
        require_room(self._spool, self._settings)
        self._count += 1
        if self._count > self._settings.fetch.max_instances:
            raise TooMuch(f"the archive sends more than {self._settings.fetch.max_instances} images, which is "
                          "more than fetch.max_instances")  # fmt: skip

    def _is_of_whole_batch(self, sop_class: str, sop_uid: str, syntax: str, data: bytes) -> bool:
        """Whether a data set belongs to a study or series that was requested as a whole."""
        if not self._whole:
            return False
        study_uid, series_uid = _study_and_series(sop_class, sop_uid, syntax, data)
        return any(b.study_uid == study_uid and b.series_uid in ("", series_uid) for b in self._whole)


def _study_and_series(sop_class: str, sop_uid: str, syntax: str, data: bytes) -> tuple[str, str]:
    """Empty where they cannot be read."""
    try:
        if syntax == DeflatedExplicitVRLittleEndian:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_INFLATED_HEAD_BYTES)
            syntax = str(ExplicitVRLittleEndian)
        file = BytesIO(header(sop_class, sop_uid, syntax, "") + data)
        with warnings.catch_warnings():
            # pydicom's warnings quote values, which may be a patient's.
            warnings.simplefilter("ignore")
            ds = dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
        return str(ds.get("StudyInstanceUID") or ""), str(ds.get("SeriesInstanceUID") or "")
    except (*MALFORMED, zlib.error):
        return "", ""
