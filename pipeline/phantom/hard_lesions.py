"""Tumours and lymph nodes that are no ellipsoids: lobes, lumps, spicules, necrosis, gaps, a fatty hilum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.phantom.anatomy import FAT, GLAND, NODE, TUMOR, Ellipsoid, Lesion
from pipeline.phantom.fields import Axes, Box, Field

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]
# What is dead in the middle of a tumour: beside the tissues of `anatomy`, known to the T1 of hard exams alone.
NECROSIS = 9
TUMOR_KINDS = ("mass", "spiculated", "rim", "non_mass")
NODE_KINDS = ("solid", "hilum")
# Lobes reach no farther than this from the lesion's centre, in half axes of the box that holds them.
_HELD = 1.25


@dataclass(frozen=True, slots=True)
class Lobe:
    """An ellipsoid in any direction: `inverse` maps mm from `centre_xyz_mm` onto the unit ball."""

    centre_xyz_mm: Floats
    inverse: Floats

    def radius(self, axes_zyx_mm: Axes) -> Floats:
        z, y, x = (axis - c for axis, c in zip(axes_zyx_mm, self.centre_xyz_mm[::-1], strict=True))
        squares: Floats = np.zeros((z.size, y.size, x.size))
        for a, b, c in self.inverse:
            squares += ((c * z)[:, None, None] + (b * y)[None, :, None] + (a * x)[None, None, :]) ** 2
        return np.asarray(np.sqrt(squares))


@dataclass(frozen=True, slots=True)
class HardLesion(Lesion):
    """A lesion that is the union of `lobes`; `shape` is a box's ellipsoid that holds it with all that goes out of it.

    `lumps`: relative size of the surface's roughness. `spicules`: (start, end, radius at the start) in mm, signal of
    the tumour that readers do not count with it. `hole`: necrosis or hilum. `gaps`: where a non-mass does not enhance.
    """

    kind: str
    lobes: tuple[Lobe, ...]
    lumps: float
    spicules: tuple[tuple[Floats, Floats, float], ...] = ()
    hole: Lobe | None = None
    gaps: Field | None = None

    def radius(self, axes_zyx_mm: Axes) -> Floats:
        nearest = self.lobes[0].radius(axes_zyx_mm)
        for lobe in self.lobes[1:]:
            nearest = np.minimum(nearest, lobe.radius(axes_zyx_mm))
        return np.asarray(nearest * (1 + self.lumps * np.clip(self.surface.at(axes_zyx_mm), -2.5, 2.5)))

    def paint(self, labels: Labels, axes_zyx_mm: Axes, inside: npt.NDArray[np.bool_]) -> None:
        """This lesion's tissues onto labels (z, y, x); `inside`: the voxels that are its own."""
        for start, end, thickness in self.spicules:
            labels[_spicule(axes_zyx_mm, start, end, thickness)] = TUMOR
        labels[inside] = self.tissue
        if self.gaps is not None:
            labels[inside & (self.gaps.at(axes_zyx_mm) < -0.45)] = GLAND
        if self.hole is not None:
            hollow = inside & (self.hole.radius(axes_zyx_mm) < 1)
            labels[hollow] = FAT if self.tissue == NODE else NECROSIS


def _spicule(axes_zyx_mm: Axes, start: Floats, end: Floats, thickness: float) -> npt.NDArray[np.bool_]:
    """A cone from `start` (radius `thickness`) to `end` (a third of it)."""
    z, y, x = axes_zyx_mm
    direction = end - start
    length = float(np.linalg.norm(direction))
    unit = direction / length
    dz, dy, dx = (z - start[2])[:, None, None], (y - start[1])[None, :, None], (x - start[0])[None, None, :]
    along = dz * unit[2] + dy * unit[1] + dx * unit[0]
    squared = dz**2 + dy**2 + dx**2 - along**2
    width = thickness * (1 - 0.67 * np.clip(along / length, 0, 1))
    return np.asarray((squared < width**2) & (along > 0) & (along < length))


def draw_tumor(
    rng: np.random.Generator, centre_xyz_mm: Floats, diameter_mm: float, heterogeneity: float, kind: str
) -> HardLesion:
    """A tumour of about `diameter_mm` from end to end."""
    flat = {"non_mass": (0.45, 0.75)}.get(kind, (0.6, 0.95))
    half = diameter_mm / 2 * np.array([1.0, rng.uniform(*flat), rng.uniform(*flat)])
    lobes = _lobes(rng, centre_xyz_mm, half, int(rng.integers(2, 5)), 0.62)
    spicules = []
    if kind == "spiculated":
        for _ in range(int(rng.integers(8, 15))):
            direction = _direction(rng)
            reach = float(half.mean()) * rng.uniform(1.35, 1.9)
            spicules.append((centre_xyz_mm.copy(), centre_xyz_mm + direction * reach, rng.uniform(1.0, 1.8)))
    hole = None
    if kind == "rim":
        core = lobes[0]
        hole = Lobe(
            core.centre_xyz_mm + rng.uniform(-0.08, 0.08, 3) * diameter_mm, core.inverse / rng.uniform(0.5, 0.7)
        )
    box = _box(centre_xyz_mm, 1.1 * diameter_mm)
    gaps = Field.draw(rng, box, rng.uniform(3.0, 5.0)) if kind == "non_mass" else None
    lumps = {"mass": 0.15, "rim": 0.13}.get(kind, 0.18)
    return HardLesion(
        _held(centre_xyz_mm, half.max() * (1.6 if spicules else 1.0)), Field.draw(rng, box, 0.28 * diameter_mm),
        Field.draw(rng, box, 5.5), Field.draw(rng, box, 2.6), heterogeneity, TUMOR, kind, lobes, lumps,
        tuple(spicules), hole, gaps,
    )  # fmt: skip


def draw_node(
    rng: np.random.Generator, centre_xyz_mm: Floats, long_half_mm: float, heterogeneity: float, kind: str
) -> HardLesion:
    """A lymph node: bean-shaped, its hilum of fat open to one side."""
    half = long_half_mm * np.array([1.0, rng.uniform(0.5, 0.85), rng.uniform(0.5, 0.95)])
    lobes = _lobes(rng, centre_xyz_mm, half, 2, 0.6)
    hole = None
    if kind == "hilum":
        aside = _direction(rng) * rng.uniform(0.35, 0.6) * float(half.min())
        hole = Lobe(centre_xyz_mm + aside, lobes[0].inverse / rng.uniform(0.45, 0.7))
    box = _box(centre_xyz_mm, 3.5 * long_half_mm)
    return HardLesion(
        _held(centre_xyz_mm, long_half_mm), Field.draw(rng, box, 0.55 * long_half_mm), Field.draw(rng, box, 5.5),
        Field.draw(rng, box, 2.6), heterogeneity, NODE, kind, lobes, 0.10, (), hole, None,
    )  # fmt: skip


def _lobes(rng: np.random.Generator, centre: Floats, half: Floats, count: int, spread: float) -> tuple[Lobe, ...]:
    """One large lobe and smaller ones at its side."""
    turn = _rotation(rng)
    lobes = [Lobe(centre, np.diag(1 / (half * 0.88)) @ turn)]
    for _ in range(count - 1):
        at = centre + turn.T @ (_direction(rng) * half * rng.uniform(0.7, 1.0) * spread)
        size = half * rng.uniform(0.45, 0.8)
        lobes.append(Lobe(at, np.diag(1 / size) @ _rotation(rng) if rng.random() < 0.5 else np.diag(1 / size) @ turn))
    return tuple(lobes)


def _held(centre: Floats, half: float) -> Ellipsoid:
    reach = float(half) * _HELD
    return Ellipsoid((float(centre[0]), float(centre[1]), float(centre[2])), (reach, reach, reach))


def _box(centre: Floats, size: float) -> Box:
    z, y, x = ((float(c) - size, float(c) + size) for c in centre[::-1])
    return z, y, x


def _direction(rng: np.random.Generator) -> Floats:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _rotation(rng: np.random.Generator) -> Floats:
    """Rows are three directions at right angles."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))
