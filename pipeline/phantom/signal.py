"""What a scanner would make of the anatomy: signal per tissue and contrast, shading, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from pipeline.geometry import Geometry
from pipeline.phantom.anatomy import AIR, NODE, TUMOR, Anatomy, Lesion, axes_of, cut
from pipeline.phantom.fields import Axes, Floats
from pipeline.phantom.spec import Drawn

# Signal before contrast of fat-suppressed T1, by tissue: air fat gland skin muscle lung blood tumour node
T1 = (0.0, 75.0, 170.0, 150.0, 160.0, 12.0, 110.0, 165.0, 150.0)
# Relative enhancement of each tissue in the four phases after contrast (tumour: fast, then washout)
ENHANCEMENT = (
    (0.0, 0.03, 0.12, 0.25, 0.10, 0.0, 2.2, 1.25, 1.05),
    (0.0, 0.04, 0.20, 0.32, 0.14, 0.0, 1.7, 1.35, 1.25),
    (0.0, 0.05, 0.27, 0.36, 0.16, 0.0, 1.5, 1.25, 1.28),
    (0.0, 0.05, 0.32, 0.38, 0.17, 0.0, 1.4, 1.15, 1.25),
)
_T2 = (0.0, 80.0, 310.0, 160.0, 110.0, 12.0, 60.0, 290.0, 320.0)
_B0 = (0.0, 35.0, 340.0, 120.0, 150.0, 10.0, 60.0, 420.0, 440.0)
_ADC = (0.0, 300.0, 1850.0, 1200.0, 1450.0, 1500.0, 2600.0, 1050.0, 950.0)  # 10-6 mm2/s
_MUSCLE_T1 = 160.0
B_VALUES = (0.0, 800.0)
# From the units above to those of T1 and T2 images: with bins of 25, lesions then span 15 to 50 grey levels.
RECEIVER_GAIN = 2.5


@dataclass(frozen=True, slots=True)
class Scene:
    """One patient on one grid."""

    anatomy: Anatomy
    drawn: Drawn
    geometry: Geometry
    axes: Axes
    labels: npt.NDArray[np.uint8]
    tissue: Floats
    shading: Floats

    @classmethod
    def on(cls, anatomy: Anatomy, drawn: Drawn, geometry: Geometry) -> Scene:
        axes = axes_of(geometry)
        shading = np.exp(drawn.bias * _coil(anatomy, axes)).astype(np.float32)
        return cls(anatomy, drawn, geometry, axes, anatomy.labels(axes), anatomy.tissue.at(axes), shading)

    def region(self, tissue: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self.labels == tissue)

    def lesion_mask(self, lesion: Lesion) -> npt.NDArray[np.bool_]:
        """One lesion's voxels: those whose centre lies inside. bool (z, y, x)."""
        mask = np.zeros(self.geometry.shape_zyx, dtype=bool)
        window = lesion.shape.window(self.axes)
        mask[window] = lesion.radius(cut(self.axes, window)) < 1
        return mask

    def t1(self, phase: int, rng: np.random.Generator) -> Floats:
        """Magnitude of one phase; 0 is before contrast."""
        lut = np.array(T1, dtype=np.float32)
        if phase:
            lut = lut * (1 + np.array(ENHANCEMENT[phase - 1], dtype=np.float32))
        return RECEIVER_GAIN * self._magnitude(self._textured(lut, 1.0 if phase else 0.35, 1.0), rng)

    def t2(self, rng: np.random.Generator) -> Floats:
        return RECEIVER_GAIN * self._magnitude(self._textured(np.array(_T2, dtype=np.float32), 0.8, 0.4), rng)

    def diffusion(self, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """b0, b800 and the ADC map that a scanner computes from them (10-6 mm2/s, 0 where there is no signal)."""
        b0 = self._textured(np.array(_B0, dtype=np.float32), 0.5, 0.0)
        adc = np.clip(self._textured(np.array(_ADC, dtype=np.float32), -1.0, -0.2), 0, 3500)
        b800 = b0 * np.exp(-B_VALUES[1] * 1e-6 * adc)
        low, high = self._magnitude(b0, rng, 0.35), self._magnitude(b800, rng, 0.35)
        floor = 8 * self._sigma(0.35)
        seen = (low > floor) & (high > 0)
        ratio = np.log(np.maximum(low, 1) / np.maximum(high, 1)) / (B_VALUES[1] * 1e-6)
        return low, high, np.where(seen, np.clip(ratio, 0, 4000), 0).astype(np.float32)

    def _textured(self, lut: Floats, lesion_weight: float, structure: float) -> Floats:
        """Signal without shading and noise. `structure`: how much a rim or fatty hilum shows in this contrast."""
        signal = lut[self.labels] * (1 + 0.06 * self.tissue)
        for lesion in self.anatomy.lesions:
            window = lesion.shape.window(self.axes)
            axes = cut(self.axes, window)
            inside = self.labels[window] == lesion.tissue
            factor = (1 + lesion_weight * lesion.texture(axes)) * _structure(lesion, axes, structure)
            signal[window][inside] = np.clip(lut[lesion.tissue] * factor, 0.2 * lut[lesion.tissue], None)[inside]
        return np.asarray(signal, dtype=np.float32)

    def _magnitude(self, signal: Floats, rng: np.random.Generator, noise_scale: float = 1.0) -> Floats:
        """Point spread in plane, coil shading, gain, Rician noise."""
        blurred = signal
        for axis in (1, 2):
            blurred = gaussian_filter1d(blurred, 0.45, axis=axis, truncate=2.5)
        real = blurred * self.shading * np.float32(self.drawn.gain)
        sigma = np.float32(self._sigma(noise_scale))
        shape = self.geometry.shape_zyx
        real = real + sigma * rng.standard_normal(shape, dtype=np.float32)
        return np.asarray(np.hypot(real, sigma * rng.standard_normal(shape, dtype=np.float32)), dtype=np.float32)

    def _sigma(self, scale: float) -> float:
        return self.drawn.noise * _MUSCLE_T1 * self.drawn.gain * scale


def _coil(anatomy: Anatomy, axes: Axes) -> Floats:
    """Logarithmic sensitivity, unit size: bright near the breast coil, dark at the back, with slow variation."""
    depth = ((30.0 - axes[1]) / 70.0)[None, :, None]
    return np.asarray(0.6 * np.tanh(depth) + 0.55 * anatomy.shading.at(axes), dtype=np.float32)


def _structure(lesion: Lesion, axes: Axes, weight: float) -> Floats:
    """Rim enhancement of a tumour, fatty hilum of a node: both follow heterogeneity."""
    radius = lesion.radius(axes)
    if lesion.tissue == TUMOR:
        return np.asarray(1 + weight * 0.12 * lesion.heterogeneity * (radius**2 - 0.6), dtype=np.float32)
    depth = weight * float(np.clip(0.4 / lesion.heterogeneity, 0.05, 0.6))
    return np.asarray(1 - depth * np.exp(-((radius / 0.45) ** 2)), dtype=np.float32)


__all__ = ["AIR", "B_VALUES", "NODE", "TUMOR", "Scene"]
