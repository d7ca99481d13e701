"""Where each image of a DICOM file lies and how its stored values become real ones; headers only, no pixels.

A `Frame` is one plane: a single-frame instance (number None) or one frame of a multi-frame instance (1-based).
Functional groups are looked up per frame first, then shared (PS3.3 C.7.6.16); classic attributes of the data set
stand in where a maker left a group out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # Any: DICOM values, of any type until they are checked

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.dicom_file.checked_numbers import whole_number
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import GeometryRejected, PixelsRejected
from pipeline.records import InstanceRef, SliceSource
from pipeline.vendor_headers.tiled_images import Tile, is_mosaic, is_tiled, tiles_in
from pipeline.volumes.checked_header import NEEDED, as_sound, read_header

PARAMETRIC_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
Vector = npt.NDArray[np.float64]
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One plane and its place: `position` of the first pixel's centre, `across` along a row, `down` along a column.

    `spacing_xy_mm`: between columns, between rows. `facets` tell frames of different volumes in one series apart
    (phase, b-value, echo, kind of image); equal facets at equal positions are duplicates. `commas`: attributes of the
    file that are written with a decimal comma. `tile`: where in the image this slice lies, if it holds several.
    """

    path: Path
    source: SliceSource
    rows: int
    columns: int
    position: Vector
    across: Vector
    down: Vector
    spacing_xy_mm: tuple[float, float]
    slope: float
    intercept: float
    bits: tuple[int, int, int, bool]
    frame_of_reference_uid: str | None
    instance_number: int | None
    facets: tuple[tuple[str, str], ...]
    commas: tuple[str, ...] = ()
    tile: Tile | None = None

    @property
    def normal(self) -> Vector:
        return np.cross(self.across, self.down)

    @property
    def depth_mm(self) -> float:
        """Position along the normal."""
        return float(self.position @ self.normal)

    @property
    def name(self) -> str:
        """How messages call this slice."""
        where = ", ".join(f"{x:.2f}" for x in self.position)
        frame = "" if self.source.frame is None else f" frame {self.source.frame}"
        return f"{self.source.ref.sop_instance_uid}{frame} at ({where}) mm"


def read_frames(path: Path, numbers: tuple[int, ...] | None = None) -> list[Frame]:
    """Every plane of one image file, or those of `numbers` (1-based).

    Raises NotDicom, PixelsRejected (not a grey image), GeometryRejected (no place in the patient).
    """
    ds = read_header(path)
    if text_of(ds, "SOPClassUID") in SEGMENTATIONS:
        raise PixelsRejected(f"{path.name} holds a segmentation, no image", uid=ds.get("SOPInstanceUID"))
    frames, faults = as_sound(ds, path, lambda header: frames_in(header, path, numbers))
    needed = faults.naming(NEEDED)
    if needed:
        uid = frames[0].source.ref.sop_instance_uid if frames else None
        raise PixelsRejected(f"image {uid}, {path.name}: {needed} cannot be read", code="unreadable-value", uid=uid)
    commas = tuple(sorted(faults.commas))
    return [replace(f, commas=commas) for f in frames] if commas else frames


def frames_of(frames: Iterable[tuple[Path, int | None]]) -> list[Frame]:
    """Headers of the files and frames named; (path, None) means all that the file holds."""
    numbers: dict[Path, list[int] | None] = {}
    for path, number in frames:
        if number is None:
            numbers[path] = None
        else:
            wanted = numbers.setdefault(path, [])
            if wanted is not None:
                wanted.append(number)
    return [f for path, wanted in numbers.items() for f in read_frames(path, None if wanted is None else tuple(wanted))]


def frames_in(ds: Dataset, path: Path, numbers: tuple[int, ...] | None = None) -> list[Frame]:
    """As `read_frames`, of a header already read; also of a segmentation's."""
    lacking = [k for k in ("SOPInstanceUID", "Rows", "Columns") if k not in ds]
    if lacking:
        raise PixelsRejected(f"{path.name} holds no image: it has no {lacking[0]}", uid=ds.get("SOPInstanceUID"))
    uid = str(ds.SOPInstanceUID)
    _check_kind(ds, uid)
    if "PerFrameFunctionalGroupsSequence" not in ds:
        if int(ds.get("NumberOfFrames") or 1) > 1:
            raise GeometryRejected(f"image {uid} has several frames without a place for each", uid=uid)
        return _single(path, ds, uid)
    count = len(ds.PerFrameFunctionalGroupsSequence)
    wanted = range(1, count + 1) if numbers is None else numbers
    if any(not 1 <= n <= count for n in wanted):
        raise GeometryRejected(f"image {uid} has {count} frames; frame {max(wanted)} was asked for", uid=uid)
    return [_frame(path, ds, Groups(ds, n - 1), n, uid) for n in wanted]


def _check_kind(ds: Dataset, uid: str) -> None:
    if int(ds.get("SamplesPerPixel") or 1) != 1:
        raise PixelsRejected(f"image {uid} is in colour; only grey images carry a signal", uid=uid)
    if "ModalityLUTSequence" in ds:
        raise PixelsRejected(f"image {uid} uses a Modality LUT, which maps values in no linear way", uid=uid)
    if is_mosaic(ds) and "PerFrameFunctionalGroupsSequence" in ds:
        raise GeometryRejected(f"image {uid} is a mosaic of several frames, which nothing describes", uid=uid)


class Groups:
    """The attributes of one frame, looked up as though it were a classic data set."""

    def __init__(self, ds: Dataset, index: int) -> None:
        shared = ds.get("SharedFunctionalGroupsSequence") or []
        self._sources = [ds.PerFrameFunctionalGroupsSequence[index], *shared[:1]]
        self._ds = ds

    def items(self) -> Iterator[Dataset]:
        """Every functional group macro of the frame, its own before the shared ones."""
        for source in self._sources:
            for element in source:
                if element.VR == "SQ" and element.value and not element.tag.is_private:
                    yield element.value[0]

    def every(self, macro: str, inner: str) -> list[Dataset]:
        """All items of a sequence inside all items of a macro; the frame's own macro before the shared one."""
        items: Any = next((items_there for source in self._sources if (items_there := source.get(macro))), [])
        return [each for item in items for each in item.get(inner) or []]

    def get(self, keyword: str, default: object = None) -> Any:
        for item in self.items():
            value = item.get(keyword)
            if value is not None:
                return value
        return self._ds.get(keyword, default)


def _single(path: Path, ds: Dataset, uid: str) -> list[Frame]:
    """The one plane of a single-frame image, or the slices that are tiled into it."""
    if not is_tiled(ds):
        return [_frame(path, ds, ds, None, uid)]
    across, down = _directions(
        _numbers(ds, "ImageOrientationPatient", 6, "Image Orientation (Patient)", uid, None), uid
    )
    tiles = tiles_in(ds, across, down, uid)
    return [
        replace(
            _frame(path, ds, ds, None, uid, tile.position_mm),
            rows=tile.rows,
            columns=tile.columns,
            tile=tile,
        )
        for tile in tiles
    ]


def _frame(
    path: Path,
    ds: Dataset,
    groups: Dataset | Groups,
    number: int | None,
    uid: str,
    place: tuple[float, float, float] | None = None,
) -> Frame:
    ref = InstanceRef(
        str(ds.get("StudyInstanceUID", "")), str(ds.get("SeriesInstanceUID", "")), str(ds.get("SOPClassUID", "")), uid
    )
    position = (
        np.array(place)
        if place is not None
        else _numbers(groups, "ImagePositionPatient", 3, "Image Position (Patient)", uid, number)
    )
    orientation = _numbers(groups, "ImageOrientationPatient", 6, "Image Orientation (Patient)", uid, number)
    spacing = _numbers(groups, "PixelSpacing", 2, "Pixel Spacing", uid, number)
    if spacing.min() <= 0:
        raise GeometryRejected(f"image {uid} has a Pixel Spacing of {spacing[0]:g} x {spacing[1]:g} mm", uid=uid)
    across, down = _directions(orientation, uid)
    slope, intercept = _scaling(ds, groups, uid)
    return Frame(
        path=path,
        source=SliceSource(ref, number),
        rows=int(ds.Rows),
        columns=int(ds.Columns),
        position=position,
        across=across,
        down=down,
        spacing_xy_mm=(float(spacing[1]), float(spacing[0])),
        slope=slope,
        intercept=intercept,
        bits=_bits(ds),
        frame_of_reference_uid=str(ds.get("FrameOfReferenceUID") or "") or None,
        instance_number=number or whole_number(ds, "InstanceNumber"),
        facets=_facets(groups),
    )


def _scaling(ds: Dataset, groups: Dataset | Groups, uid: str) -> tuple[float, float]:
    """From stored to real values: the modality rescale, and of a Parametric Map its Real World Value Mapping."""
    if text_of(ds, "SOPClassUID") != PARAMETRIC_MAP_CLASS:
        return _real(groups.get("RescaleSlope"), 1.0, uid), _real(groups.get("RescaleIntercept"), 0.0, uid)
    slope, intercept = groups.get("RealWorldValueSlope"), groups.get("RealWorldValueIntercept")
    if slope is None or intercept is None:
        raise PixelsRejected(f"parametric map {uid} has no linear Real World Value Mapping for a frame", uid=uid)
    return _real(slope, 1.0, uid), _real(intercept, 0.0, uid)


def _numbers(groups: Dataset | Groups, keyword: str, count: int, name: str, uid: str, number: int | None) -> Vector:
    value = groups.get(keyword)
    if value is not None and not isinstance(value, str) and len(value) == count:
        numbers = np.array([float(v) for v in value])
        if np.isfinite(numbers).all():
            return numbers
    raise GeometryRejected(f"image {uid}{f' frame {number}' if number else ''} has no {name}", uid=uid)


def _real(value: Any, default: float, uid: str) -> float:
    if value is None or value == "":
        return default
    number = float(value)
    if not np.isfinite(number):
        raise PixelsRejected(f"image {uid} has a rescale of {value}", uid=uid)
    return number


def _bits(ds: Dataset) -> tuple[int, int, int, bool]:
    """Bits allocated, bits stored, high bit, signed."""
    allocated = int(ds.get("BitsAllocated", 16))
    stored = int(ds.get("BitsStored", allocated))
    return allocated, stored, int(ds.get("HighBit", stored - 1)), bool(int(ds.get("PixelRepresentation") or 0))


def _directions(orientation: Vector, uid: str) -> tuple[Vector, Vector]:
    """Unit vectors at right angles. Raises when they are further from that than rounding explains (1e-3)."""
    across, down = orientation[:3], orientation[3:]
    lengths = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(across @ down))) > 1e-3:
        raise GeometryRejected(
            f"image {uid}: Image Orientation (Patient) is not two unit vectors at right angles", uid=uid
        )
    across = across / lengths[0]
    down = down - across * (across @ down)
    return across, down / np.linalg.norm(down)


FACETS = (
    "StackID",
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "DiffusionDirectionality",
    "DiffusionGradientOrientation",
    "EffectiveEchoTime",
    "EchoTime",
    "InversionTimes",
    "ImageType",
    "FrameType",
    "ComplexImageComponent",
)


def _facets(groups: Dataset | Groups) -> tuple[tuple[str, str], ...]:
    facets = {keyword: groups.get(keyword) for keyword in FACETS}
    b_value = facets["DiffusionBValue"]
    if b_value is not None:
        # Some scanners number the repeats of b = 0 as 0.001, 0.002, ...
        facets["DiffusionBValue"] = round(float(b_value))
    for item in groups.get("DiffusionGradientDirectionSequence") or []:
        facets["DiffusionGradientOrientation"] = item.get("DiffusionGradientOrientation")
    return tuple((keyword, str(value)) for keyword, value in facets.items() if value is not None and value != "")
