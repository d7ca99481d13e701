"""N4: SimpleITK's and ours on the same volumes, in turn.

Phantoms of the sizes of a breast MR exam, the two MR volumes of PyRadiomics and a few real series, where present.
`max_abs_diff` is that of the log field in the Otsu mask, `max_rel_diff` that of the corrected voxels there. Below 2,000
mask voxels a row also tells `own_change`: what SimpleITK's log field changes by when the input changes by 1e-7.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from config.schema import Bias
from pipeline.bias import BiasEvidence, correct, log_field, otsu
from pipeline.bias.image_files import read_image
from pipeline.errors import ExamRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume

CASES = Path(os.environ.get("AXRAD_CASES", Path(__file__).resolve().parents[2] / "shared" / "cases"))
SERIES = ("transfer_syntaxes", "uih_dti", "dicom2nifti/philips/dti/002", "dicom2nifti/siemens/anatomical/001")
EXAM = {
    "phantom ADC 192x192x36": ((36, 192, 192), (1.8, 1.8, 4.0)),
    "phantom T2 512x512x40": ((40, 512, 512), (0.66, 0.66, 4.0)),
    "phantom T1+C 448x448x160": ((160, 448, 448), (0.8, 0.8, 1.1)),
}
FEW_VOXELS = 2_000


def run() -> Iterator[dict[str, Any]]:
    for name, (shape, spacing) in EXAM.items():
        yield compare(f"bias {name}", breasts(shape, spacing))
    for name in ("breast1", "brain1"):
        path = CASES / "radiomics" / f"{name}_image.nrrd"
        if path.is_file():
            yield compare(f"bias {name}", read_image(path))
    for name in SERIES:
        if (CASES / "mr" / name).is_dir():
            yield compare(f"bias {name}", read_series(CASES / "mr" / name))


def compare(name: str, volume: Volume) -> dict[str, Any]:
    """One row: seconds of both engines (ours, being short, the middle of three runs) and how far apart they are."""
    runs = sorted((_timed(volume, Bias(engine="fast")) for _ in range(3)), key=itemgetter(2))
    ours, our_evidence, our_seconds = runs[1]
    reference, evidence, seconds = _timed(volume, Bias(engine="simpleitk"))
    inside = np.greater(volume.voxels_zyx, otsu.threshold(volume.voxels_zyx))
    relative = np.abs(ours.voxels_zyx[inside] / reference.voxels_zyx[inside].astype(np.float64) - 1)
    row = {
        "name": name,
        "ours": round(our_seconds, 4),
        "reference": round(seconds, 4),
        "unit": "s",
        "ratio": round(seconds / our_seconds, 1),
        "max_rel_diff": float(relative.max()),
        "max_abs_diff": float(np.abs(np.log1p(relative)).max()),
        "iterations": our_evidence.iterations,
        "reference_iterations": evidence.iterations,
        "mask_voxels": evidence.mask_voxels,
        "shrink_xyz": evidence.shrink_xyz,
    }
    if evidence.mask_voxels < FEW_VOXELS:
        row["own_change"] = own_change(volume)
    return row


def own_change(volume: Volume, noise: float = 1e-7) -> float:
    """Largest change of SimpleITK's log field when every voxel changes by about `noise` of itself."""
    settings = Bias(engine="simpleitk")
    wiggle = 1 + noise * np.random.default_rng(0).standard_normal(volume.voxels_zyx.shape)
    shaken = replace(volume, voxels_zyx=volume.voxels_zyx * wiggle)  # type: ignore[operator]
    return float(np.abs(log_field(volume, settings)[0] - log_field(shaken, settings)[0]).max())


def breasts(
    shape_zyx: tuple[int, int, int],
    spacing_xyz_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    seed: int = 20211,
    noise: float = 8.0,
) -> Volume:
    """Two breasts and a chest wall, darker away from a coil in front, with Rician noise; int16."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape_zyx], indexing="ij", sparse=True)
    truth = np.zeros(shape_zyx, dtype=np.float32)
    texture = np.sin(23 * x + 5 * z) + np.sin(19 * y - 7 * x) + np.sin(17 * z + 11 * y)
    for centre in (-0.48, 0.48):
        truth[((x - centre) / 0.42) ** 2 + ((y + 0.1) / 0.7) ** 2 + (z / 0.9) ** 2 < 1] = 180
        gland = ((x - centre) / 0.25) ** 2 + ((y + 0.15) / 0.4) ** 2 + (z / 0.6) ** 2 < 1
        truth[gland & (texture > -0.3)] = 320
    truth[np.broadcast_to((y > 0.55) & (np.abs(x) < 0.95), shape_zyx)] = 220
    seen = truth * np.exp(0.5 * y - 0.3 * x * x + 0.25 * z + 0.2 * x)
    real = seen + noise * random.standard_normal(shape_zyx, dtype=np.float32)
    voxels = np.hypot(real, noise * random.standard_normal(shape_zyx, dtype=np.float32)).round().astype(np.int16)
    origin = tuple(-s * (n - 1) / 2 for s, n in zip(spacing_xyz_mm, reversed(shape_zyx), strict=True))
    geometry = Geometry(shape_zyx, spacing_xyz_mm, (origin[0], origin[1], origin[2]), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Volume(voxels, geometry, series_uid="phantom")


def read_series(folder: Path) -> Volume:
    """The first series in `folder` that is a volume, read by GDCM: quick, and good enough to compare engines on."""
    for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        image = sitk.ReadImage(files)
        voxels = sitk.GetArrayFromImage(image)
        if voxels.ndim == 3 and min(voxels.shape) > 1:
            z, y, x = voxels.shape
            geometry = Geometry((z, y, x), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
            return Volume(voxels, geometry, series_uid=uid)
    raise ExamRejected(f"no volume in {folder.name}")


def _timed(volume: Volume, settings: Bias) -> tuple[Volume, BiasEvidence, float]:
    begun = time.perf_counter()
    corrected, evidence = correct(volume, settings)
    return corrected, evidence, time.perf_counter() - begun
