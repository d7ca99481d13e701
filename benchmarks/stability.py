"""Features that survive another scanner and another reader: how well perturbed exams agree, by class of features and
kind of perturbation; what ComBat mends on phantoms of three vendors and what it cannot; what a receiver's gain changes
with and without standardisation; and what perturbations, standardised and resampled extraction cost beside
PyRadiomics' plain call on the same T1+C, with the same numbers.

Times are of the processor, both sides in one run. ITK adds on one thread, so that both sides add in one order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from threadpoolctl import threadpool_limits

from benchmarks import _vendors
from benchmarks.features import Row, Scene, largest_difference, scene
from config.schema import Features, SequenceFeatures
from pipeline.features import extract, extract_sequence, plain_extract
from pipeline.features.parameters import for_sequence
from pipeline.features.perturbation import KINDS
from pipeline.features.repeats import KEYS, perturbed_features, stability_of
from pipeline.features.roi_features import RoiFeatures
from pipeline.geometry import Geometry
from pipeline.records import Mask, Volume

EXAMS, REPEATS = 10, 16
GAIN = 1.5
# A feature that differs by less is taken as the same: it is rounding.
ROUNDING = 1e-6
NEAR_ZERO = 1e-3
ADVISED = SequenceFeatures(standardise="body", bin_width=10)
WAYS = {
    "as it is": SequenceFeatures(),
    "z score, whole image": SequenceFeatures(standardise="image", bin_width=10),
    "z score, body (advised)": ADVISED,
    "z score, region": SequenceFeatures(standardise="roi", bin_width=10),
    "percentiles of the body": SequenceFeatures(standardise="percentiles", bin_width=5),
    "16 grey levels": SequenceFeatures(bins=16),
}
SPEEDS = {
    "as it is": SequenceFeatures(),
    "normalised": SequenceFeatures(standardise="image", bin_width=10),
    "resampled to 1 mm": SequenceFeatures(voxel_mm=1.0),
    "normalised, resampled to 1 mm": SequenceFeatures(standardise="image", bin_width=10, voxel_mm=1.0),
}


def run(shrink: int = 1) -> Iterator[Row]:
    """Rows of gain, on a fourth of the matrix, then of speed. `shrink`: as of `features.scene`, for speed."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with threadpool_limits(1):
            yield from _agreement()
            yield from _vendors.rows()
            yield from _gain(scene(4))
            yield from _speed(scene(shrink))
            yield _cost(scene(shrink))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _agreement() -> Iterator[Row]:
    """The part of features with an ICC(1,1) of at least 0.9, over tumours of several sizes and textures."""
    rows = []
    for number in range(EXAMS):
        volume, mask = _tumour(number)
        rows += perturbed_features(f"1.2.{number}", "L", {"t1c": volume}, {("t1c", "tumor"): mask}, Features(), REPEATS)
    names = sorted(set(rows[0]) - set(KEYS))
    by_class: dict[tuple[str, str], list[float]] = {}
    for one in stability_of(rows, names):
        _, _, image, feature_class, *_ = one.feature.replace("_", ".").split(".")
        where = "wavelet" if image.startswith("wavelet") else image
        by_class.setdefault((f"{where} {feature_class}", one.of), []).append(float(one.icc or "nan"))
    for where in dict.fromkeys(key[0] for key in by_class):
        kinds = {kind: np.array(by_class[where, kind]) for kind in ("all", *KINDS)}
        row: Row = {"name": f"ICC of at least 0.9, {where}", "features": len(kinds["all"])}
        yield row | {kind: round(float((icc >= 0.9).mean()), 2) for kind, icc in kinds.items()}


def _tumour(number: int) -> tuple[Volume, Mask]:
    """A small T1+C with a tumour of 8 to 14 mm radius, of its own brightness and grain."""
    rng = np.random.default_rng(number)
    grid = Geometry((24, 64, 64), (0.8, 0.8, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    z, y, x = np.ogrid[:24, :64, :64]
    inside = ((z - 12) * 2.0) ** 2 + ((y - 32) * 0.8) ** 2 + ((x - 32) * 0.8) ** 2 <= rng.uniform(8, 14) ** 2
    grain = ndimage.gaussian_filter(rng.standard_normal(inside.shape), (0.5, 1.5, 1.5)) * rng.uniform(200, 900)
    signal = 400 + grain + rng.uniform(100, 600) * inside + 15 * rng.standard_normal(inside.shape)
    return Volume(signal.clip(0).astype(np.float32), grid, "t1c"), Mask(inside, grid)


def _cost(exam: Scene) -> Row:
    """Thirty perturbations beside two plain calls."""
    volume, mask = exam.volumes["t1c"], exam.masks["t1c", "tumor"]
    started = time.process_time()
    rows = list(perturbed_features("1.2", "L", {"t1c": volume}, {("t1c", "tumor"): mask}, Features(), 30))
    ours_s, started = time.process_time() - started, time.process_time()
    plain_extract(volume, mask, for_sequence(Features(), "t1c"))
    plain_s = time.process_time() - started
    return {
        "name": f"{len(rows) - 1} perturbations against two plain calls",
        "ours": round(ours_s, 2),
        "reference": round(2 * plain_s, 2),
        "unit": "s of processor",
        "ratio": round(2 * plain_s / ours_s, 2),
    }


def _gain(exam: Scene) -> Iterator[Row]:
    volume, mask = exam.volumes["t1c"], exam.masks["t1c", "tumor"]
    # float64, so that what is seen is the gain's doing and not that of rounding it to float32
    quiet = replace(volume, voxels_zyx=volume.voxels_zyx.astype(np.float64))
    loud = replace(quiet, voxels_zyx=GAIN * quiet.voxels_zyx)
    for name, rule in WAYS.items():
        one, other = (_values(v, mask, rule) for v in (quiet, loud))
        names = [n for n in one if "_shape_" not in n]
        changes = np.array([abs(other[n] - one[n]) / max(abs(one[n]), NEAR_ZERO) for n in names])
        yield {
            "name": f"gain of {GAIN:g}, {name}",
            "features": len(names),
            "changed": int((changes > ROUNDING).sum()),
            "changed_by_more_than_10_percent": int((changes > 0.1).sum()),
        }


def _values(volume: Volume, mask: Mask, rule: SequenceFeatures) -> dict[str, float]:
    return dict(extract({"t1c": volume}, {("t1c", "tumor"): mask}, Features(t1c=rule)).values)


def _speed(exam: Scene) -> Iterator[Row]:
    volume, mask = exam.volumes["t1c"], exam.masks["t1c", "tumor"]
    for name, rule in SPEEDS.items():
        parameters = for_sequence(Features(t1c=rule), "t1c")
        reference_s, reference = _timed(lambda p=parameters: plain_extract(volume, mask, p))  # type: ignore[misc]
        ours_s, ours = _timed(lambda p=parameters: extract_sequence(volume, {"tumor": mask}, p)["tumor"])  # type: ignore[misc]
        yield {
            "name": f"features, {name}",
            "ours": round(ours_s, 3),
            "reference": round(reference_s, 3),
            "unit": "s of processor",
            "ratio": round(reference_s / ours_s, 1),
            "max_rel_diff": largest_difference(ours.values, reference.values),
        }


def _timed(work: Callable[[], RoiFeatures]) -> tuple[float, RoiFeatures]:
    started = time.process_time()
    answer = work()
    return time.process_time() - started, answer
