"""The mark of a segmentation that axrad wrote: the digest of its voxels, in a private element and beside it in each
segment's algorithm, since archives may remove private elements.

Such an object (a proposal, a union, regions as carried onto another sequence) never counts as a region. A copy whose
voxels somebody has changed is a reader's, whatever else it says: the digest tells. The maker's name would not do:
phantoms may name the same one.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal  # Any: elements of pydicom, of any type

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from pipeline.codestream import Broken
from pipeline.decoding import Died, NotDecoded, pixels_in
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.errors import NotDicom

GROUP = 0x4A5D
CREATOR = "AXRAD SEGMENTATION"
_DIGEST, _KIND = 0x01, 0x02
_MARKED = "axrad, sha256 of the voxels: "
# Until the mark was put beside an algorithm of another name, that name had to begin with ours.
_MARKED_BEFORE = "sha256 of the voxels: "
_FAMILY = ("123104", "DCM", "Morphological Operations")
LABELMAP = "LABELMAP"
State = Literal["none", "ours", "changed"]
# What cannot be decoded here cannot be held against the mark.
_UNREADABLE = (*MALFORMED, Broken, Died, NotDecoded, NotDicom, zlib.error)


def put_mark(ds: Dataset, kind: str) -> None:
    """Mark a finished segmentation. `kind` says what it is for, e.g. `union`."""
    digest = voxel_digest(ds)
    block = ds.private_block(GROUP, CREATOR, create=True)
    block.add_new(_DIGEST, "LO", digest)
    block.add_new(_KIND, "CS", kind.upper())
    for segment in ds.SegmentSequence:
        # One item: several are allowed, and highdicom opens no segmentation that has them.
        named = segment.get("SegmentationAlgorithmIdentificationSequence")
        algorithm = named[0] if named else algorithm_item(f"axrad {kind}", "1", _FAMILY)
        algorithm.AlgorithmParameters = f"{_MARKED}{digest}"
        segment.SegmentationAlgorithmIdentificationSequence = [algorithm]


def algorithm_item(name: str, version: str, family_code: tuple[str, str, str]) -> Dataset:
    """The Algorithm Identification Macro (PS3.3 10-19)."""
    family, item = Dataset(), Dataset()
    family.CodeValue, family.CodingSchemeDesignator, family.CodeMeaning = family_code
    item.AlgorithmFamilyCodeSequence = [family]
    item.AlgorithmName, item.AlgorithmVersion = name[:64], version[:64]
    return item


def has_mark(ds: Dataset) -> bool:
    """Whether the data set holds our mark, of whatever voxels."""
    return bool(marked_digest(ds))


def state_of(path: Path) -> State:
    """Whether the object is ours, was ours until somebody changed its voxels, or never was.

    Where the voxels cannot be decoded here, the mark is believed.
    """
    with pydicom.config.disable_value_validation():
        ds, place = bounded_reading.located(path, force=True)
        digest = marked_digest(ds)
        if not digest:
            return "none"
        try:
            frames = pixels_in(path, ds, place, range(1, len(ds.PerFrameFunctionalGroupsSequence) + 1))
            return "ours" if voxel_digest(ds, frames) == digest else "changed"
        except _UNREADABLE:
            return "ours"


def voxel_digest(ds: Dataset, frames: Iterable[npt.NDArray[np.generic]] | None = None) -> str:
    """SHA-256 over which voxels each segment has.

    `frames`: the decoded pixels, of `ds` itself where they are not given.
    The order of frames, empty frames, the encoding and the form (BINARY, LABELMAP) make no difference.
    """
    frames = _pixels(ds) if frames is None else frames
    shared = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    entries = []
    for frame, groups in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position = _first(groups, shared, "PlanePositionSequence").ImagePositionPatient
        place = ",".join(f"{round(float(p), 2) + 0.0:.2f}" for p in position)
        entries += [
            (number, place, np.packbits(drawn).tobytes()) for number, drawn in _drawn(ds, frame, groups, shared)
        ]
    digest = hashlib.sha256(f"{ds.Rows} {ds.Columns}".encode())
    for number, place, bits in sorted(entries):
        digest.update(f"\0{number}\0{place}\0".encode() + bits)
    return digest.hexdigest()


def _pixels(ds: Dataset) -> npt.NDArray[np.generic]:
    """Every frame of a data set that is not compressed (PS3.5 8.1.1: the first pixel is the lowest bit)."""
    shape = (len(ds.PerFrameFunctionalGroupsSequence), int(ds.Rows), int(ds.Columns))
    if ds.BitsAllocated != 1 or ds["PixelData"].is_undefined_length:
        return np.asarray(ds.pixel_array).reshape(shape)
    packed = np.frombuffer(bytes(ds.PixelData), np.uint8)
    return np.unpackbits(packed, count=int(np.prod(shape)), bitorder="little").reshape(shape)


def _drawn(
    ds: Dataset, frame: npt.NDArray[np.generic], groups: Dataset, shared: Dataset
) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """Each segment that has a voxel on a frame."""
    if ds.get("SegmentationType") == LABELMAP:
        return [(int(value), frame == value) for value in np.unique(frame) if value]
    if not frame.any():
        return []
    number = int(_first(groups, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    return [(number, frame != 0)]


def _first(groups: Dataset, shared: Dataset, keyword: str) -> Dataset:
    item: Dataset = (groups.get(keyword) or shared.get(keyword))[0]
    return item


def marked_digest(ds: Any) -> str:
    """The digest that our mark holds; empty where there is no mark."""
    return _private_digest(ds) or _digest_of_algorithm(ds)


def _digest_of_algorithm(ds: Any) -> str:
    for segment in ds.get("SegmentSequence") or ():
        for algorithm in segment.get("SegmentationAlgorithmIdentificationSequence") or ():
            name, parameters = (str(algorithm.get(k) or "") for k in ("AlgorithmName", "AlgorithmParameters"))
            before = name.startswith("axrad ") and parameters.startswith(_MARKED_BEFORE)
            if before or parameters.startswith(_MARKED):
                return parameters.removeprefix(_MARKED).removeprefix(_MARKED_BEFORE).strip("\0 ")
    return ""


def _private_digest(ds: Any) -> str:
    for offset in range(0x10, 0x100):
        creator = ds.get((GROUP, offset))
        if creator is None:
            if offset > 0x20:
                break
            continue
        if str(creator.value).strip() == CREATOR:
            element = ds.get((GROUP, (offset << 8) + _DIGEST))
            value = element.value if element is not None else ""
            # Archives that do not know the element may keep it as bytes without a representation.
            return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")
    return ""
