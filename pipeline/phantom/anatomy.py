"""Two breasts on a chest wall, an axilla, a tumour and three lymph nodes, as functions of place.

Patient coordinates (LPS, mm): x to the patient's left, y backwards, z up; the sternum is near the origin. Proportions
are round numbers of an adult; nothing here was measured on a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.phantom.fields import Axes, Box, Field, Floats
from pipeline.phantom.spec import Drawn, PhantomSpec

AIR, FAT, GLAND, SKIN, MUSCLE, LUNG, BLOOD, TUMOR, NODE = range(9)

_TORSO_CENTRE, _TORSO_AXES = (0.0, 120.0), (170.0, 110.0)
_BREAST_CENTRE, _BREAST_AXES = (80.0, 25.0, 4.0), (58.0, 62.0, 64.0)
_AXILLA_CENTRE, _AXILLA_AXES = (120.0, 70.0, 23.0), (32.0, 26.0, 44.0)
_NODE_OFFSETS = ((0.0, 0.0, 0.0), (-12.0, 5.0, 13.0), (7.0, -5.0, -14.0))
_FIELD_CENTRE = (0.0, 50.0, 8.0)
_ONE_SIDE_CENTRE = (112.0, 24.0, 17.0)


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    centre_xyz_mm: tuple[float, float, float]
    axes_xyz_mm: tuple[float, float, float]

    def radius(self, axes_zyx_mm: Axes) -> npt.NDArray[np.float64]:
        """Distance from the centre in units of the half axes: below 1 inside. Shape (z, y, x)."""
        z, y, x = axes_zyx_mm
        cx, cy, cz = self.centre_xyz_mm
        a, b, c = self.axes_xyz_mm
        squares = (
            (((z - cz) / c) ** 2)[:, None, None]
            + (((y - cy) / b) ** 2)[None, :, None]
            + (((x - cx) / a) ** 2)[None, None, :]
        )
        return np.asarray(np.sqrt(squares))

    def window(self, axes_zyx_mm: Axes, margin: float = 1.3) -> tuple[slice, slice, slice]:
        """Where on the grid this ellipsoid (times `margin`) can be."""
        spans = []
        for axis, centre, half in zip(axes_zyx_mm, self.centre_xyz_mm[::-1], self.axes_xyz_mm[::-1], strict=True):
            inside = np.flatnonzero(np.abs(axis - centre) <= half * margin)
            spans.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
        return spans[0], spans[1], spans[2]


@dataclass(frozen=True, slots=True)
class Lesion:
    """A tumour or node: an ellipsoid with a lumpy surface and texture of its own (same field on every grid)."""

    shape: Ellipsoid
    surface: Field
    coarse: Field
    fine: Field
    heterogeneity: float
    tissue: int

    def radius(self, axes_zyx_mm: Axes) -> npt.NDArray[np.float64]:
        lumps = 0.09 if self.tissue == TUMOR else 0.04
        return np.asarray(self.shape.radius(axes_zyx_mm) * (1 + lumps * self.surface.at(axes_zyx_mm)))

    def texture(self, axes_zyx_mm: Axes) -> Floats:
        """Zero mean; larger and finer the more heterogeneous."""
        fine = float(np.clip(0.45 * self.heterogeneity, 0.1, 0.9))
        mixed = np.sqrt(fine) * self.fine.at(axes_zyx_mm) + np.sqrt(1 - fine) * self.coarse.at(axes_zyx_mm)
        return np.asarray(0.11 * self.heterogeneity * mixed, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Anatomy:
    side: int
    tumor: Lesion
    nodes: tuple[Lesion, ...]
    parenchyma: Field
    tissue: Field
    shading: Field

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        return (self.tumor, *self.nodes)

    def labels(self, axes_zyx_mm: Axes) -> npt.NDArray[np.uint8]:
        """The tissue at every point of a grid: uint8 (z, y, x)."""
        labels = self.healthy(axes_zyx_mm)
        for lesion in self.lesions:
            window = lesion.shape.window(axes_zyx_mm)
            labels[window][lesion.radius(cut(axes_zyx_mm, window)) < 1] = lesion.tissue
        return labels

    def healthy(self, axes_zyx_mm: Axes) -> npt.NDArray[np.uint8]:
        """As `labels`, without any lesion."""
        z, y, x = axes_zyx_mm
        torso = np.sqrt(
            (((y - _TORSO_CENTRE[1]) / _TORSO_AXES[1]) ** 2)[:, None]
            + (((x - _TORSO_CENTRE[0]) / _TORSO_AXES[0]) ** 2)[None, :]
        )
        labels = np.zeros((z.size, y.size, x.size), dtype=np.uint8)
        for side in (-1, 1):
            self._paint_breast(labels, axes_zyx_mm, side)
        for limit, tissue in ((1.0, SKIN), (0.985, FAT), (0.94, MUSCLE), (0.82, LUNG)):
            labels[:, torso < limit] = tissue
        for side in (-1, 1):  # no skin where the breast sits on the chest
            breast = _mirrored(_BREAST_CENTRE, _BREAST_AXES, side).radius(axes_zyx_mm)
            labels[(labels == SKIN) & (breast < 0.97) & (torso < 1.0)] = FAT
            axilla = _mirrored(_AXILLA_CENTRE, _AXILLA_AXES, side).radius(axes_zyx_mm)
            labels[(axilla < 1) & (torso < 0.985)] = FAT
        heart = Ellipsoid((32.0, 105.0, -18.0), (52.0, 44.0, 60.0)).radius(axes_zyx_mm)
        labels[(heart < 1) & (torso < 0.80)] = MUSCLE
        labels[(heart < 0.75) & (torso < 0.80)] = BLOOD
        return labels

    def _paint_breast(self, labels: npt.NDArray[np.uint8], axes_zyx_mm: Axes, side: int) -> None:
        breast = _mirrored(_BREAST_CENTRE, _BREAST_AXES, side)
        window = breast.window(axes_zyx_mm, 1.05)
        axes = cut(axes_zyx_mm, window)
        radius = breast.radius(axes)
        part = labels[window]
        part[radius < 1] = SKIN
        part[radius < 0.965] = FAT
        ducts = self.parenchyma.at(axes) + 0.45 * self.tissue.at(axes)
        part[(radius < 0.85) & (ducts > 1.6 * radius - 0.6)] = GLAND


def _mirrored(centre: tuple[float, float, float], axes: tuple[float, float, float], side: int) -> Ellipsoid:
    return Ellipsoid((centre[0] * side, centre[1], centre[2]), axes)


def cut(axes_zyx_mm: Axes, window: tuple[slice, slice, slice]) -> Axes:
    return axes_zyx_mm[0][window[0]], axes_zyx_mm[1][window[1]], axes_zyx_mm[2][window[2]]


def make(spec: PhantomSpec, drawn: Drawn) -> Anatomy:
    """The patient of this spec."""
    rng = spec.rng("anatomy")
    side = 1 if drawn.laterality == "L" else -1
    x, y, z = np.array([95.0, -6.0, 9.0]) + rng.uniform(-1, 1, 3) * (7.0, 4.0, 3.0)
    half = drawn.tumor_diameter_mm / 2 * np.exp(rng.uniform(-0.12, 0.12, 3))
    tumor = Ellipsoid((side * float(x), float(y), float(z)), (float(half[0]), float(half[1]), float(half[2])))
    nodes = [_node(rng, side, offset) for offset in _NODE_OFFSETS]
    everywhere: Box = ((-200.0, 220.0), (-180.0, 280.0), (-230.0, 230.0))
    return Anatomy(
        side,
        _lesion(rng, tumor, drawn.heterogeneity_tumor, TUMOR),
        tuple(_lesion(rng, node, drawn.heterogeneity_nodes, NODE) for node in nodes),
        Field.draw(rng, everywhere, 11.0),
        Field.draw(rng, everywhere, 5.0),
        Field.draw(rng, everywhere, 110.0),
    )


def _node(rng: np.random.Generator, side: int, offset: tuple[float, float, float]) -> Ellipsoid:
    centre = np.array(_AXILLA_CENTRE) + offset + rng.uniform(-1.0, 1.0, 3)
    long_axis = rng.uniform(5.8, 7.3)
    half = long_axis * np.array([rng.uniform(0.75, 1.0), rng.uniform(0.6, 0.85), 1.0])
    return Ellipsoid(
        (side * float(centre[0]), float(centre[1]), float(centre[2])), (float(half[0]), float(half[1]), float(half[2]))
    )


def _lesion(rng: np.random.Generator, shape: Ellipsoid, heterogeneity: float, tissue: int) -> Lesion:
    box = [(c - 1.6 * a, c + 1.6 * a) for c, a in zip(shape.centre_xyz_mm, shape.axes_xyz_mm, strict=True)][::-1]
    zyx: Box = (box[0], box[1], box[2])
    size = min(shape.axes_xyz_mm)
    draws = [Field.draw(rng, zyx, pitch) for pitch in (0.9 * size, 5.5, 2.6)]
    return Lesion(shape, draws[0], draws[1], draws[2], heterogeneity, tissue)


def grid(
    spec: PhantomSpec,
    drawn: Drawn,
    matrix_xyz: tuple[int, int, int],
    spacing_xyz_mm: tuple[float, float, float],
    shift_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Geometry:
    """An axial grid centred on the field of view, moved by `shift_xyz_mm`."""
    side = 1 if drawn.laterality == "L" else -1
    x, y, z = _ONE_SIDE_CENTRE if spec.grids.one_side else _FIELD_CENTRE
    centre = (x * side, y, z)
    origin = [
        round(c + shift - s * (n - 1) / 2, 4)
        for c, shift, s, n in zip(centre, shift_xyz_mm, spacing_xyz_mm, matrix_xyz, strict=True)
    ]
    return Geometry(
        (matrix_xyz[2], matrix_xyz[1], matrix_xyz[0]),
        spacing_xyz_mm,
        (origin[0], origin[1], origin[2]),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        spec.uid("frame of reference"),
    )


def axes_of(geometry: Geometry) -> Axes:
    """Coordinates of voxel centres along z, y and x (mm) of an axis-aligned grid."""
    sizes, spacing, origin = geometry.shape_zyx, geometry.spacing_xyz_mm[::-1], geometry.origin_xyz_mm[::-1]
    z, y, x = (o + s * np.arange(n, dtype=np.float64) for n, s, o in zip(sizes, spacing, origin, strict=True))
    return z, y, x
