"""T1 of a hard exam: partial volume, background enhancement, motion between the phases; the rest as in `signal`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.phantom.anatomy import BLOOD, FAT, GLAND, NODE, TUMOR, Lesion, axes_of, cut
from pipeline.phantom.fields import Axes, Floats
from pipeline.phantom.hard_anatomy import HardAnatomy
from pipeline.phantom.hard_lesions import HardLesion
from pipeline.phantom.signal import ENHANCEMENT, RECEIVER_GAIN, T1, Scene
from pipeline.phantom.spec import PhantomSpec

# Each voxel is the mean of so many places along z, y and x.
PLACES_ZYX = (3, 2, 2)
# Slices of the fine grid that are held in memory at once.
_SLAB = 8
_NECROSIS_T1, _NECROSIS_ENHANCEMENT = 130.0, 0.12


@dataclass(frozen=True, slots=True)
class HardDrawn:
    """What differs from exam to exam beyond `Drawn`. `background`: how much glands enhance."""

    background: float
    tumor: float
    node: float
    blood: float
    fat: float
    shifts_xyz_mm: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, spec: PhantomSpec, phases: int = 5) -> HardDrawn:
        rng = spec.rng("hard signal")
        values = [float(rng.uniform(*span)) for span in ((0.1, 0.8), (0.7, 1.5), (0.5, 1.1), (1.2, 2.2), (60, 170))]
        shifts = np.clip(rng.standard_normal((phases, 3)), -2.5, 2.5)
        shifts[1] = 0.0  # regions are of the first phase after contrast
        return cls(
            values[0], values[1], values[2], values[3], values[4],
            tuple((float(x), float(y), float(z)) for x, y, z in shifts),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HardScene(Scene):
    """One hard patient on one grid."""

    hard: HardDrawn
    patient: HardAnatomy

    @classmethod
    def of(cls, spec: PhantomSpec, anatomy: HardAnatomy, geometry: Geometry) -> HardScene:
        anatomy = anatomy.around(axes_of(geometry))
        plain = Scene.on(anatomy, spec.drawn(), geometry)
        return cls(
            anatomy, plain.drawn, geometry, plain.axes, plain.labels, plain.tissue, plain.shading,
            HardDrawn.of(spec), anatomy,
        )  # fmt: skip

    def lesion_mask(self, lesion: Lesion) -> npt.NDArray[np.bool_]:
        """One lesion's voxels: those whose centre lies inside. bool (z, y, x)."""
        mask = np.zeros(self.geometry.shape_zyx, dtype=bool)
        window = lesion.shape.window(self.axes)
        assert isinstance(lesion, HardLesion)
        mask[window] = self.patient.inside(lesion, cut(self.axes, window))
        return mask

    def t1(self, phase: int, rng: np.random.Generator) -> Floats:
        """Magnitude of one phase; 0 is before contrast."""
        signal = np.empty(self.geometry.shape_zyx, np.float32)
        for start in range(0, signal.shape[0], _SLAB):
            rows = slice(start, min(start + _SLAB, signal.shape[0]))
            signal[rows] = self._averaged(phase, (self.axes[0][rows], self.axes[1], self.axes[2]))
        return RECEIVER_GAIN * self._magnitude(signal, rng)

    def _averaged(self, phase: int, axes: Axes) -> Floats:
        """Signal of whole voxels, without shading and noise."""
        shift = self.hard.shifts_xyz_mm[phase][::-1]
        fine = [_finer(axis + s, n) for axis, s, n in zip(axes, shift, PLACES_ZYX, strict=True)]
        signal = self._at((fine[0], fine[1], fine[2]), phase)
        (nz, ny, nx), (pz, py, px) = (tuple(a.size for a in axes), PLACES_ZYX)
        return np.asarray(signal.reshape(nz, pz, ny, py, nx, px).mean(axis=(1, 3, 5)), np.float32)

    def _at(self, axes: Axes, phase: int) -> Floats:
        patient, tissue = self.patient, self.patient.tissue.at(axes)
        labels = patient.detailed(axes)
        signal = np.asarray(self._table(phase)[labels] * (1 + 0.06 * tissue), np.float32)
        if phase:
            glands = labels == GLAND
            uneven = np.clip(0.6 + 0.6 * patient.enhancement.at(axes), 0, 2)
            signal[glands] *= 1 + self.hard.background * uneven[glands]
        weight = 1.0 if phase else 0.35
        for lesion in patient.lesions:
            window = lesion.shape.window(axes)
            part = labels[window] == lesion.tissue
            texture = np.clip(1 + weight * lesion.texture(cut(axes, window)), 0.3, None)
            signal[window][part] *= texture[part]
        return signal

    def _table(self, phase: int) -> Floats:
        """Signal of each tissue, necrosis last."""
        hard = self.hard
        table = np.array([*T1, _NECROSIS_T1])
        table[FAT] = hard.fat
        if phase:
            rise = np.array([*ENHANCEMENT[phase - 1], _NECROSIS_ENHANCEMENT])
            for tissue, first in ((TUMOR, hard.tumor), (NODE, hard.node), (BLOOD, hard.blood)):
                rise[tissue] *= first / ENHANCEMENT[0][tissue]
            rise[GLAND] = 0.0  # by place
            table = table * (1 + rise)
        return np.asarray(table, np.float32)


def _finer(axis: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """`places` coordinates within each voxel of a regular axis."""
    step = float(axis[1] - axis[0]) if axis.size > 1 else 1.0
    offsets = ((np.arange(places) + 0.5) / places - 0.5) * step
    return np.asarray((axis[:, None] + offsets).ravel())
