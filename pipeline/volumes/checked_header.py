"""The header of a DICOM file, read without trust: what is damaged in it is told, and left out where nobody needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset

from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED, reason_of
from pipeline.dicom_file.value_repair import Faults, repair
from pipeline.errors import ExamRejected, NotDicom

Read = TypeVar("Read")
# Without these a value or its place would be guessed. HighBit follows from Bits Stored (PS3.5 8.1.1).
NEEDED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "ModalityLUTSequence",
    "RealWorldValueSlope",
    "RealWorldValueIntercept",
)


def read_header(path: Path) -> Dataset:
    """The data set up to its pixel data. Raises NotDicom."""
    with readable(path):
        return bounded_reading.read(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Translate what a broken header raises while it is looked at: pydicom converts values only when asked for them."""
    try:
        yield
    except MALFORMED as error:
        raise NotDicom(f"{path.name} cannot be read as DICOM: {reason_of(error)}") from error


def as_sound(ds: Dataset, path: Path, read: Callable[[Dataset], Read]) -> tuple[Read, Faults]:
    """What `read` makes of a header; where it fails, of the same header without values that break a rule.

    Raises what `read` raises, and names the values that had to be left out.
    """
    try:
        with readable(path):
            return read(ds), Faults()
    except ExamRejected as error:
        with readable(path):
            again = read_header(path)
            faults = repair(again)
        if not faults:
            raise
        try:
            with readable(path):
                return read(again), faults
        except ExamRejected as still:
            left_out = f"; {path.name} holds unreadable values: {faults.text}" if faults.broken else ""
            raise type(still)(still.message + left_out, code=still.code, uid=still.uid) from error
