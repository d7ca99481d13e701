"""Several slices tiled into one image: Siemens' mosaics and United Imaging's grids, taken apart.

Siemens (ImageType MOSAIC): the stated position is that of the whole mosaic centred where the first slice lies, so the
first slice's own corner is half of what the mosaic is wider and taller away from it; the next ones follow along
SliceNormalVector of the CSA header, SpacingBetweenSlices apart (NiBabel: "Siemens mosaic format"). United Imaging
(ImageType VFRAME): a private sequence (0065,1051) gives each slice's position. Tiles follow row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.sequence import Sequence

from pipeline.dicom_file.checked_numbers import BadValue, number, numbers
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import GeometryRejected
from pipeline.vendor_headers.siemens_csa import csa_values

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tile:
    """A slice inside a larger image: its first row and column there, its size, and the place of its first pixel."""

    row: int
    column: int
    rows: int
    columns: int
    position_mm: tuple[float, float, float]

    def of(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return stored[self.row : self.row + self.rows, self.column : self.column + self.columns]


def is_mosaic(ds: Dataset) -> bool:
    return "MOSAIC" in text_of(ds, "ImageType").upper().split("\\")


def is_tiled(ds: Dataset) -> bool:
    return is_mosaic(ds) or len(uih_slices(ds)) > 1


def uih_slices(ds: Dataset) -> list[Dataset]:
    """The items that describe the slices of a United Imaging grid; none where the image is no grid."""
    maker = text_of(ds, "Manufacturer").lower()
    if "uih" not in maker and "united imaging" not in maker:
        return []
    try:
        items = ds.private_block(0x0065, "Image Private Header")[0x51].value
    except KeyError:
        return []
    return list(items) if isinstance(items, Sequence) else []


def tile_facts(ds: Dataset) -> dict[str, list[str] | list[float] | int]:
    """What matching needs of a tiled image, by DICOM keyword as of its first slice; `tile_positions`: of every slice.

    Empty where the image is one slice, or nobody can tell where its slices lie.
    """
    if not is_tiled(ds):
        return {}
    try:
        orientation = numbers(ds, "ImageOrientationPatient")
        if orientation is None or len(orientation.values) != 6:
            return {}
        plane = np.array(orientation.values)
        tiles = tiles_in(ds, plane[:3], plane[3:], "")
    except (BadValue, GeometryRejected):
        return {}
    return {
        "tile_positions": ["\\".join(f"{v:.6f}" for v in tile.position_mm) for tile in tiles],
        "ImagePositionPatient": list(tiles[0].position_mm),
        "Rows": tiles[0].rows,
        "Columns": tiles[0].columns,
    }


def tiles_in(ds: Dataset, across: Vector, down: Vector, uid: str) -> list[Tile]:
    """The slices of a tiled image. Raises GeometryRejected."""
    items = uih_slices(ds)
    if len(items) > 1:
        positions = [_position(item, uid) for item in items]
        columns = int(np.ceil(np.sqrt(len(items))))
        return _cut(ds, positions, -(-len(items) // columns), columns, uid)
    count = _mosaic_count(ds)
    normal = _mosaic_normal(ds)
    step = number(ds, "SpacingBetweenSlices")
    if count is None or normal is None or step is None or step <= 0:
        lacking = "number" if count is None else "direction" if normal is None else "distance"
        raise GeometryRejected(
            f"image {uid} is a Siemens mosaic that does not tell the {lacking} of its slices", uid=uid
        )
    side = int(np.ceil(np.sqrt(count)))
    spacing = numbers(ds, "PixelSpacing")
    if spacing is None:
        raise GeometryRejected(f"image {uid} has no Pixel Spacing", uid=uid)
    between_rows, between_columns = spacing.values
    rows, columns = int(ds.Rows) // side, int(ds.Columns) // side
    wider, taller = between_columns * (int(ds.Columns) - columns) / 2, between_rows * (int(ds.Rows) - rows) / 2
    first = np.array(_position(ds, uid)) + across * wider + down * taller
    return _cut(ds, [_triple(first + normal * (step * k)) for k in range(count)], side, side, uid)


def _cut(ds: Dataset, positions: list[tuple[float, float, float]], high: int, wide: int, uid: str) -> list[Tile]:
    rows, columns = int(ds.Rows) // high, int(ds.Columns) // wide
    if rows * high != int(ds.Rows) or columns * wide != int(ds.Columns):
        raise GeometryRejected(
            f"image {uid} holds {len(positions)} slices, which do not tile its {ds.Rows} x {ds.Columns} pixels", uid=uid
        )
    places = (divmod(k, wide) for k in range(len(positions)))
    return [
        Tile(row * rows, column * columns, rows, columns, position)
        for (row, column), position in zip(places, positions, strict=True)
    ]


def _position(ds: Dataset, uid: str) -> tuple[float, float, float]:
    try:
        corner = numbers(ds, "ImagePositionPatient")
    except BadValue:
        corner = None
    if corner is None or len(corner.values) != 3:
        raise GeometryRejected(f"image {uid} has a slice without Image Position (Patient)", uid=uid)
    return _triple(np.array(corner.values))


def _triple(point: Vector) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])


def _mosaic_count(ds: Dataset) -> int | None:
    try:
        value = ds.private_block(0x0019, "SIEMENS MR HEADER")[0x0A].value
        tiles = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
    except (KeyError, TypeError, ValueError):
        values = _csa(ds, "NumberOfImagesInMosaic")
        tiles = int(values[0]) if values and values[0].isdigit() else 0
    return tiles if tiles > 0 else None


def _mosaic_normal(ds: Dataset) -> Vector | None:
    try:
        normal = np.array([float(v) for v in _csa(ds, "SliceNormalVector")])
    except ValueError:
        return None
    if normal.shape != (3,) or not np.isfinite(normal).all() or abs(np.linalg.norm(normal) - 1) > 1e-3:
        return None
    return np.asarray(normal / np.linalg.norm(normal), np.float64)


def _csa(ds: Dataset, name: str) -> tuple[str, ...]:
    try:
        header = ds.private_block(0x0029, "SIEMENS CSA HEADER")[0x10].value
    except KeyError:
        return ()
    return csa_values(header, name) if isinstance(header, bytes) else ()
