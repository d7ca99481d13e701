"""The patient of a hard exam: irregular lesions, each with the neighbour that it is easily taken together with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.phantom.anatomy import BLOOD, MUSCLE, TUMOR, Anatomy, cut
from pipeline.phantom.fields import Axes, Box, Field
from pipeline.phantom.hard_lesions import NECROSIS, NODE_KINDS, TUMOR_KINDS, HardLesion, draw_node, draw_tumor
from pipeline.phantom.spec import Drawn, PhantomSpec

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# What lies beside a node; "node" is another node of a cluster.
NEIGHBOURS = ("none", "muscle", "vessel", "node")
_FIELDS = ("parenchyma", "tissue", "shading", "enhancement")
_AXILLA = np.array([120.0, 68.0, 23.0])
_PLACES = np.array([[-3.0, 0.0, -19.0], [3.0, 2.0, 4.0], [-2.0, -4.0, 25.0]])
_BREAST, _BREAST_HALF = np.array([80.0, 25.0, 4.0]), np.array([58.0, 62.0, 64.0])


@dataclass(frozen=True, slots=True)
class Tube:
    """A vessel: a straight one is hard enough."""

    through_xyz_mm: Floats
    direction: Floats
    radius_mm: float

    def inside(self, axes_zyx_mm: Axes) -> Bools:
        z, y, x = (axis - c for axis, c in zip(axes_zyx_mm, self.through_xyz_mm[::-1], strict=True))
        dz, dy, dx = z[:, None, None], y[None, :, None], x[None, None, :]
        along = dz * self.direction[2] + dy * self.direction[1] + dx * self.direction[0]
        return np.asarray(dz**2 + dy**2 + dx**2 - along**2 < self.radius_mm**2)


@dataclass(frozen=True, slots=True)
class Slab:
    """A muscle: 12 mm thick, 70 mm across, its face at `face_xyz_mm` looking along -`normal`."""

    face_xyz_mm: Floats
    normal: Floats

    def inside(self, axes_zyx_mm: Axes) -> Bools:
        z, y, x = (axis - c for axis, c in zip(axes_zyx_mm, self.face_xyz_mm[::-1], strict=True))
        dz, dy, dx = z[:, None, None], y[None, :, None], x[None, None, :]
        depth = dz * self.normal[2] + dy * self.normal[1] + dx * self.normal[0]
        return np.asarray((depth > 0) & (depth < 12) & (dz**2 + dy**2 + dx**2 - depth**2 < 35.0**2))


@dataclass(frozen=True, slots=True)
class HardAnatomy(Anatomy):
    """As `Anatomy`, with what lies against the lesions. `beside`: the neighbour of each node, in words."""

    tubes: tuple[Tube, ...]
    slabs: tuple[Slab, ...]
    beside: tuple[str, ...]
    enhancement: Field

    def around(self, axes_zyx_mm: Axes) -> HardAnatomy:
        """The same patient, known only on this grid and a little around it."""
        fields = {name: getattr(self, name).around(axes_zyx_mm) for name in _FIELDS}
        return replace(self, **fields)

    def labels(self, axes_zyx_mm: Axes) -> npt.NDArray[np.uint8]:
        """In the tissues that every sequence knows: necrosis counts as tumour."""
        labels = self.detailed(axes_zyx_mm)
        labels[labels == NECROSIS] = TUMOR
        return labels

    def detailed(self, axes_zyx_mm: Axes) -> npt.NDArray[np.uint8]:
        """The tissue at every point of a grid, with necrosis: uint8 (z, y, x)."""
        labels = self.healthy(axes_zyx_mm)
        for slab in self.slabs:
            labels[slab.inside(axes_zyx_mm)] = MUSCLE
        for tube in self.tubes:
            labels[tube.inside(axes_zyx_mm)] = BLOOD
        for lesion in self.lesions:
            window = lesion.shape.window(axes_zyx_mm)
            axes = cut(axes_zyx_mm, window)
            if isinstance(lesion, HardLesion):
                lesion.paint(labels[window], axes, self.inside(lesion, axes))
        return labels

    def inside(self, lesion: HardLesion, axes_zyx_mm: Axes) -> Bools:
        """Points of this lesion; where two nodes touch, a point is of the one whose middle is nearer by its size."""
        radius = lesion.radius(axes_zyx_mm)
        mine = np.asarray(radius < 1)
        for other in self.nodes if lesion is not self.tumor else ():
            if other is not lesion:
                mine &= radius <= other.radius(axes_zyx_mm)
        return mine


def make_hard(spec: PhantomSpec, drawn: Drawn) -> HardAnatomy:
    """The patient of this spec. Kinds of tumour, of nodes and of their neighbours are drawn evenly from the seed."""
    rng = spec.rng("hard anatomy")
    side = 1 if drawn.laterality == "L" else -1
    mirror = np.array([side, 1.0, 1.0])
    kind = TUMOR_KINDS[int(rng.integers(len(TUMOR_KINDS)))]
    tumor = draw_tumor(
        rng, _place(rng, drawn.tumor_diameter_mm) * mirror, drawn.tumor_diameter_mm, drawn.heterogeneity_tumor, kind
    )
    nodes: list[HardLesion] = []
    tubes: list[Tube] = [_feeder(rng, tumor)]
    slabs: list[Slab] = []
    beside: list[str] = []
    for place in _PLACES:
        centre = (_AXILLA + place + rng.uniform(-2, 2, 3)) * mirror
        half = float(np.clip(6.2 * np.exp(0.28 * rng.standard_normal()), 4.2, 10.0))
        node = draw_node(rng, centre, half, drawn.heterogeneity_nodes, NODE_KINDS[int(rng.integers(2))])
        neighbour = NEIGHBOURS[int(rng.integers(len(NEIGHBOURS)))]
        nodes.append(node)
        beside.append(neighbour)
        away = _sideways(rng)
        edge = _edge(node, centre, away)
        if neighbour == "muscle":
            slabs.append(Slab(centre + away * (edge - 0.5), away))
        elif neighbour == "vessel":
            radius = rng.uniform(1.8, 3.5)
            tubes.append(Tube(centre + away * (edge + 0.8 * radius), _along(rng, away), radius))
        elif neighbour == "node":
            size = float(np.clip(half * rng.uniform(0.6, 0.95), 4.0, 8.0))
            at = centre + away * (edge + 0.62 * size)
            nodes.append(draw_node(rng, at, size, drawn.heterogeneity_nodes, "solid"))
            beside.append("node")
    everywhere: Box = ((-200.0, 220.0), (-180.0, 280.0), (-230.0, 230.0))
    fields = [Field.draw(rng, everywhere, pitch) for pitch in (11.0, 5.0, 110.0, 8.0)]
    return HardAnatomy(
        side, tumor, tuple(nodes), fields[0], fields[1], fields[2], tuple(tubes), tuple(slabs), tuple(beside), fields[3]
    )


def _place(rng: np.random.Generator, diameter_mm: float) -> Floats:
    """A tumour's centre in the left breast, up to the chest wall, and wholly inside the skin."""
    centre = np.array([rng.uniform(70, 108), rng.uniform(-14, 24), rng.uniform(-12, 26)])
    limit = 0.93 - 0.62 * diameter_mm / float(_BREAST_HALF.min())
    off = float(np.linalg.norm((centre - _BREAST) / _BREAST_HALF))
    return np.asarray(centre if off <= limit else _BREAST + (centre - _BREAST) * limit / off)


def _feeder(rng: np.random.Generator, tumor: HardLesion) -> Tube:
    """The vessel that goes to the tumour, past its border."""
    centre = np.array(tumor.shape.centre_xyz_mm)
    away = _sideways(rng)
    return Tube(centre + away * (_edge(tumor, centre, away) + 0.5), _along(rng, away), rng.uniform(1.0, 2.0))


def _sideways(rng: np.random.Generator) -> Floats:
    """A direction near the axial plane, in which what lies beside is seen beside."""
    vector = rng.standard_normal(3) * np.array([1.0, 1.0, 0.35])
    return np.asarray(vector / np.linalg.norm(vector))


def _along(rng: np.random.Generator, away: Floats) -> Floats:
    """A direction at right angles to `away`."""
    vector = rng.standard_normal(3)
    vector = vector - away * float(vector @ away)
    return np.asarray(vector / np.linalg.norm(vector))


def _edge(lesion: HardLesion, centre: Floats, direction: Floats) -> float:
    """Where a ray from the centre leaves the lesion, in mm."""
    steps = np.arange(0.5, 40.0, 0.5)
    for mm in steps:
        x, y, z = centre + direction * mm
        if lesion.radius((np.array([z]), np.array([y]), np.array([x])))[0, 0, 0] >= 1:
            return float(mm)
    return float(steps[-1])
