"""Hard lesions without the rest of the exam: T1 before and after contrast around them, in seconds and not minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.phantom.hard_anatomy import HardAnatomy, make_hard
from pipeline.phantom.hard_lesions import HardLesion
from pipeline.phantom.hard_scene import HardScene
from pipeline.phantom.spec import PhantomSpec
from pipeline.records import Role, Volume

# What is seen around the lesions.
MARGIN_MM = 16.0


@dataclass(frozen=True, slots=True)
class HardLesionTruth:
    """One lesion: its voxels on the grid of `HardCrop`, what it is, and what lies beside it."""

    role: Role
    kind: str
    beside: str
    mask_zyx: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HardCrop:
    """The first phase after contrast and the one before it, and every lesion in them."""

    t1c: Volume
    pre: Volume
    lesions: tuple[HardLesionTruth, ...]


def crop(spec: PhantomSpec, role: Role) -> HardCrop:
    """The box around the tumour, or around all nodes, of the hard exam of `spec`: equal specs give equal voxels."""
    spec = spec.with_preset("hard")
    anatomy = make_hard(spec, spec.drawn())
    lesions = (anatomy.tumor,) if role == "tumor" else anatomy.nodes
    grid = _grid(spec, [lesion for lesion in lesions if isinstance(lesion, HardLesion)])
    scene = HardScene.of(spec, anatomy, grid)
    pre, t1c = (Volume(scene.t1(p, spec.rng(f"noise crop {role} {p}")), grid, spec.uid("crop", p)) for p in (0, 1))
    return HardCrop(t1c, pre, tuple(_truth(scene, anatomy, role, n) for n in range(len(lesions))))


def _truth(scene: HardScene, anatomy: HardAnatomy, role: Role, number: int) -> HardLesionTruth:
    lesion = anatomy.tumor if role == "tumor" else anatomy.nodes[number]
    assert isinstance(lesion, HardLesion)
    beside = "none" if role == "tumor" else anatomy.beside[number]
    return HardLesionTruth(role, lesion.kind, beside, scene.lesion_mask(lesion))


def _grid(spec: PhantomSpec, lesions: list[HardLesion]) -> Geometry:
    spacing = spec.drawn().t1_spacing_mm
    centres = np.array([lesion.shape.centre_xyz_mm for lesion in lesions])
    reach = np.array([lesion.shape.axes_xyz_mm for lesion in lesions]) / 1.25 + MARGIN_MM
    low, high = (centres - reach).min(axis=0), (centres + reach).max(axis=0)
    size = np.ceil((high - low) / spacing).astype(int)
    x, y, z = (round(float(v), 4) for v in low)
    grid = Geometry((int(size[2]), int(size[1]), int(size[0])), spacing, (x, y, z), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    return replace(grid, frame_of_reference_uid=spec.uid("frame of reference"))
