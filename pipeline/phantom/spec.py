"""What a synthetic exam is asked to be, and what it turned out to be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.geometry import Geometry
from pipeline.records import Mask, Role, Sequence, Side

_FAR = 1.8  # nuisance stays within so many standard deviations: no exam is outlandish
Vendor = Literal["siemens", "ge", "philips"]
VENDORS: tuple[Vendor, ...] = ("siemens", "ge", "philips")
Preset = Literal["small", "demo", "reference", "hard"]
Matrix = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Matrix (x, y, z) and nominal spacing (x, y, z mm) of the three sequences; `one_side`: the field is one breast."""

    t1_matrix: Matrix
    t1_spacing_mm: Spacing
    t2_matrix: Matrix
    t2_spacing_mm: Spacing
    dwi_matrix: Matrix
    dwi_spacing_mm: Spacing
    one_side: bool = False


# `small` has the voxels of `demo` over a smaller field, so that what is learnt on one holds on the other.
PRESETS: dict[Preset, Protocol] = {
    "small": Protocol(
        (96, 96, 32), (1.33, 1.33, 2.0), (96, 96, 17), (1.33, 1.33, 4.0), (64, 64, 15), (2.1, 2.1, 4.4), one_side=True
    ),
    "demo": Protocol(
        (256, 256, 80), (1.33, 1.33, 2.0), (256, 256, 40), (1.33, 1.33, 4.0), (160, 160, 36), (2.1, 2.1, 4.4)
    ),
    "reference": Protocol(
        (448, 448, 160), (0.76, 0.76, 1.0), (512, 512, 40), (0.66, 0.66, 4.0), (192, 192, 36), (1.77, 1.77, 4.4)
    ),
    # Regions as hard to draw as a patient's: `hard_anatomy`.
    "hard": Protocol(
        (160, 160, 64), (0.9, 0.9, 1.8), (128, 128, 28), (1.15, 1.15, 4.0), (72, 72, 26), (2.0, 2.0, 4.4), one_side=True
    ),
}


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """One exam. A nuisance that is None is drawn from the seed (`drawn`).

    `effect` is the distance, in standard deviations of the hidden heterogeneity, between exams with and without
    nodal metastasis; 0 makes the two alike. `gain` multiplies signal, `noise` is the Rician sigma relative to the
    signal of muscle, `bias` the size of the coil's logarithmic shading, `spacing_jitter` the largest relative change
    of every spacing. `dce_layout` None: as the vendor does it. `seg_revision` 2 is a corrected SEG (a new instance, one
    hour later) on the same images. `patient` None: the seed; two exams of one number are of one patient. All series
    share one frame of reference.
    """

    seed: int = 1
    vendor: Vendor = "siemens"
    preset: Preset = "demo"
    node_positive: bool | None = None
    laterality: Side | None = None
    effect: float = 1.5
    spacing_jitter: float = 0.04
    gain: float | None = None
    noise: float | None = None
    bias: float | None = None
    tumor_diameter_mm: float | None = None
    dce_layout: Literal["series_per_phase", "one_series"] | None = None
    with_adc_map: bool = True
    with_seg: bool = True
    seg_revision: int = 1
    patient: int | None = None
    study_date: str = "20260115"
    protocol: Protocol | None = None

    @property
    def grids(self) -> Protocol:
        return self.protocol or PRESETS[self.preset]

    @property
    def patient_number(self) -> int:
        return self.seed if self.patient is None else self.patient

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, so that one choice does not move another."""
        digest = hashlib.sha256(f"axrad phantom {self.seed} {purpose}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def uid(self, *parts: object) -> str:
        """A UID that depends on this spec's identity and `parts` alone (PS3.5 B.2: 2.25 and a 128-bit integer)."""
        same_images = replace(self, with_seg=True, with_adc_map=True, seg_revision=1)
        digest = hashlib.sha256(repr((same_images, *parts)).encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    def drawn(self) -> Drawn:
        """Every choice made, as `write_exam` will use it."""
        rng = self.rng("nuisance")
        coin, side, gain, noise, bias, size, *hidden = np.clip(rng.standard_normal(12), -_FAR, _FAR)
        positive = bool(coin > 0) if self.node_positive is None else self.node_positive
        diameter = 26.0 if self.preset == "reference" else float(np.clip(22.0 * np.exp(0.18 * size), 14.0, 28.0))
        if self.preset == "hard":
            diameter = float(np.clip(22.0 * np.exp(0.35 * size), 12.0, 40.0))
        shading, grain = (0.6, 0.09) if self.preset == "hard" else (0.35, 0.06)
        shift = self.effect * (0.5 if positive else -0.5)
        shared, own_tumor, own_nodes = hidden[:3]
        jitter = 1 + self.spacing_jitter * self.rng("spacing").uniform(-1, 1, 9)
        grids = self.grids
        return Drawn(
            positive,
            self.laterality or ("L" if side > 0 else "R"),
            float(np.exp(0.10 * gain)) if self.gain is None else self.gain,
            float(grain * np.exp(0.2 * noise)) if self.noise is None else self.noise,
            float(shading * np.exp(0.25 * bias)) if self.bias is None else self.bias,
            diameter if self.tumor_diameter_mm is None else self.tumor_diameter_mm,
            float(np.exp(0.3 * (shift + np.sqrt(0.7) * shared + np.sqrt(0.3) * own_tumor))),
            float(np.exp(0.3 * (shift + np.sqrt(0.7) * shared + np.sqrt(0.3) * own_nodes))),
            _jittered(grids.t1_spacing_mm, jitter[0], jitter[1]),
            _jittered(grids.t2_spacing_mm, jitter[2], jitter[3]),
            _jittered(grids.dwi_spacing_mm, jitter[4], jitter[5]),
        )

    def with_preset(self, preset: Preset) -> PhantomSpec:
        return replace(self, preset=preset, protocol=None)


def _jittered(spacing: Spacing, in_plane: float, through: float) -> Spacing:
    """Headers hold decimal strings of at most 16 bytes; four decimals are exact in them."""
    x, y, z = spacing
    return round(float(x * in_plane), 4), round(float(y * in_plane), 4), round(float(z * through), 4)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The truth of one exam. `heterogeneity_*`: what the effect acts on, 1 on average."""

    node_positive: bool
    laterality: Side
    gain: float
    noise: float
    bias: float
    tumor_diameter_mm: float
    heterogeneity_tumor: float
    heterogeneity_nodes: float
    t1_spacing_mm: Spacing
    t2_spacing_mm: Spacing
    dwi_spacing_mm: Spacing


@dataclass(frozen=True, slots=True)
class PhantomSeries:
    """One series as written. `label`: in the words of `axrad match`; `phase`: 0 is before contrast."""

    series_uid: str
    label: str
    description: str
    paths: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    phase: int | None = None


@dataclass(frozen=True, slots=True)
class PhantomExam:
    """What `write_exam` wrote.

    `chosen`: Series Instance UID that a correct reader takes for each sequence. `t1c_instances`: the SOP Instance
    UIDs of the first phase after contrast, in slice order (what the SEG refers to). `masks`: on the T1+C grid.
    """

    folder: Path
    spec: PhantomSpec
    truth: Drawn
    study_uid: str
    frame_of_reference_uid: str
    series: tuple[PhantomSeries, ...]
    chosen: Mapping[Sequence, str]
    t1c_instances: tuple[str, ...]
    geometry: Geometry
    masks: Mapping[Role, Mask]
    seg_path: Path | None = None
    seg_uid: str | None = None
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file, images first, SEG last."""
        images = tuple(path for series in self.series for path in series.paths)
        return images if self.seg_path is None else (*images, self.seg_path)
