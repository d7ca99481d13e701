"""Whether a ROI object holds any region, as far as its header and its pixels tell without a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any  # Any: an element as pydicom keeps it, converted or raw

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pipeline.catalog.facts import RTSTRUCT_CLASS, Value
from pipeline.codestream import fragments, rle
from pipeline.decoding.frames import raw_bytes
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.fast_header import UNDEFINED, Header

CHUNK_BYTES = 1 << 20
MOST_SEEN = 4 << 20
RLE = "1.2.840.10008.1.2.5"
CONTOUR_DATA = Tag("ContourData")
# Fewer points bound no area.
LEAST_POINTS = 3


def region_tags(dataset: Dataset, sop_class: str, path: Path) -> dict[str, Value]:
    """`no_region`: why a SEG or RTSTRUCT counts for nothing. No tag where it holds a region, or nobody can tell yet."""
    why = _of_structures(dataset) if sop_class == RTSTRUCT_CLASS else _of_segments(dataset, path)
    return {"no_region": why} if why else {}


def _of_structures(dataset: Dataset) -> str:
    if not dataset.get("StructureSetROISequence"):
        return "it has no ROI"
    for roi in dataset.get("ROIContourSequence") or []:
        for contour in roi.get("ContourSequence") or []:
            if _points(contour) >= LEAST_POINTS:
                return ""
    return "none of its ROIs has a contour that bounds an area"


def _points(contour: Dataset) -> int:
    """Counted in the bytes: a contour may have a million points, and pydicom makes an object of each number."""
    element: Any = contour.get_item(CONTOUR_DATA) if CONTOUR_DATA in contour else None
    if isinstance(element, RawDataElement):
        return (element.value.count(b"\\") + 1) // 3 if element.value else 0
    return len(contour.get("ContourData") or []) // 3


def _of_segments(dataset: Dataset, path: Path) -> str:
    if not dataset.get("SegmentSequence"):
        return "it has no segment"
    if not isinstance(dataset, Header) or dataset.pixels is None:
        return "all its voxels are zero" if _surely_zero(dataset, path) else ""
    offset, length = dataset.pixels
    sides = [dataset.get(keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    if all(isinstance(side, int) for side in sides):
        rows, columns, bits = sides
        needed = (rows * columns * bits * int(dataset.get("NumberOfFrames") or 1) + 7) // 8
        if min(length, path.stat().st_size - offset) < needed:
            return "its pixel data end before its last frame"
    return "" if _any_voxel(path, offset, length) else "all its voxels are zero"


def _surely_zero(dataset: Dataset, path: Path) -> bool:
    """Whether pixels in another encoding are all zero: deflated or run lengths. Others have to be decoded to tell.

    No more than MOST_SEEN bytes are looked at, and nothing is expanded.
    """
    try:
        place = bounded_reading.located(path, force=None)[1]
        if place is None:
            return False
        if place.length != UNDEFINED:
            return 0 < place.length <= MOST_SEEN and not any(
                piece.strip(b"\0") for piece in raw_bytes(path, place, place.length)
            )
        if str(dataset.file_meta.TransferSyntaxUID) != RLE:
            return False
        with path.open("rb") as file:
            frames = fragments.frames_of(file, place.offset, int(dataset.get("NumberOfFrames") or 1))
            if sum(f.length for frame in frames for f in frame) > MOST_SEEN:
                return False
            return bool(frames) and all(rle.is_zero(fragments.read(file, frame)) for frame in frames)
    except bounded_reading.MALFORMED:
        return False


def _any_voxel(path: Path, offset: int, length: int) -> bool:
    """Whether any byte is set; looks at no more than it has to."""
    with path.open("rb") as file:
        file.seek(offset)
        while length > 0 and (piece := file.read(min(CHUNK_BYTES, length))):
            if piece.count(0) != len(piece):
                return True
            length -= len(piece)
    return False
