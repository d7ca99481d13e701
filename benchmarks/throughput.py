"""How many exams an hour one and two worker processes evaluate, and how time grows with image and with region.

Workers are processes that have everything loaded, as the daemon's have, with the threads that the daemon gives each.
They take exams of the reference size from a queue, from headers on disk to the rendered report. `ours` is exams per
second.

    python -m benchmarks.throughput      also draws docs/img/scaling.png
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bias import breasts
from benchmarks.features import Row, _balls
from config.schema import Bias, Features, Settings, SignatureSettings, Work
from daemon.cli.run_outputs import write_outputs
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.bias import correct
from pipeline.catalog import exam_in
from pipeline.features import extract
from pipeline.geometry import Geometry
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Preset
from pipeline.records import Mask, Volume
from pipeline.run import analyse

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "img" / "scaling.png"
# Voxels of T1+C of a reference exam; the images of the series have its proportions.
LARGEST_ZYX = (160, 448, 448)
DIAMETERS_MM = (10, 20, 30, 45, 60)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def run(preset: Preset = "reference", exams: int = 4) -> Iterator[Row]:
    """One worker, then two, on the same exams; then time against size."""
    with tempfile.TemporaryDirectory(prefix="axrad-bench-") as scratch:
        folder = Path(scratch)
        write_exam(folder / "exam", PhantomSpec(seed=3, preset=preset))
        alone, first = per_second(folder, 1, exams)
        for workers in (1, 2):
            rate, answers = (alone, first) if workers == 1 else per_second(folder, workers, exams)
            apart = [abs(a.total / b.total - 1) for a, b in zip(answers, first, strict=True)]
            yield {
                "name": f"throughput, {workers} worker{'s' * (workers > 1)}",
                "ours": round(rate, 4),
                "reference": round(alone, 4),
                "unit": "/s",
                "ratio": round(rate / alone, 2),
                "max_rel_diff": max(apart),
                "exams_per_hour": round(3600 * rate),
                "cpu_s_per_exam": round(sum(a.cpu_s for a in answers) / exams, 2),
            }
    yield from growth()


class Answer(NamedTuple):
    """The sum of an exam's features, which must not depend on the number of workers, and the processor time it took."""

    total: float
    cpu_s: float


def per_second(folder: Path, workers: int, exams: int) -> tuple[float, list[Answer]]:
    """Exams per second, and what came of each."""
    share = str(max(1, (os.cpu_count() or 1) // workers))
    saved = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, share))
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            # everything is loaded before the clock starts
            list(pool.map(evaluate, [(folder / "exam", folder / f"warm{n}", workers) for n in range(workers)]))
            started = time.perf_counter()
            answers = list(pool.map(evaluate, [(folder / "exam", folder / f"out{n}", workers) for n in range(exams)]))
            return exams / (time.perf_counter() - started), answers
    finally:
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def evaluate(given: tuple[Path, Path, int]) -> Answer:
    """One exam, as one of so many workers does it."""
    source, out, workers = given
    started = used()
    settings = Settings(signature=SignatureSettings(max_outside=1.0, max_distance=1e9), work=Work(processes=workers))
    exam = exam_in(source)
    analysis = analyse(exam, settings, Signatures.from_settings(settings.signature))
    result = write_outputs(analysis.result, analysis.panels, analysis.regions, exam, out, settings, datetime.now(UTC))
    return Answer(sum(result.features.values()), used() - started)


def used() -> float:
    """Seconds of processor time, of this process and of those that it has started."""
    return sum(os.times()[:4])


def growth(largest_zyx: tuple[int, int, int] = LARGEST_ZYX) -> Iterator[Row]:
    """N4 against the size of the image, features against the size of the region.

    `reference` is the smallest of each series, so `ratio` says by how much the time has grown; `grown` by how much the
    voxels have.
    """
    yield from _grown("N4, image", [_of_image(largest_zyx, part) for part in (4, 2, 1.5, 1)])
    yield from _grown("features, region", [_of_region(largest_zyx, mm) for mm in DIAMETERS_MM])


def _of_image(largest_zyx: tuple[int, int, int], part: float) -> tuple[int, float]:
    z, y, x = (max(8, round(n / part)) for n in largest_zyx)
    volume = breasts((z, y, x), (340 / x, 340 / y, 160 / z))
    return z * y * x, _seconds(partial(correct, volume, Bias()))


def _of_region(largest_zyx: tuple[int, int, int], diameter_mm: float) -> tuple[int, float]:
    z, y, x = largest_zyx
    grid = Geometry(largest_zyx, (340 / x, 340 / y, 160 / z), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    mask = Mask(_balls(grid, (((170.0, 170.0, 80.0), diameter_mm / 2),)), grid)
    voxels = np.random.default_rng(1).normal(1000, 150, largest_zyx).astype(np.float32)
    work = partial(extract, {"t1c": Volume(voxels, grid, "t1c")}, {("t1c", "tumor"): mask}, Features())
    return mask.voxels, _seconds(work)


def _seconds(work: partial[object]) -> float:
    """Of processor time, the smaller of two: other work on the machine lengthens both, one less."""
    found = []
    for _ in range(2):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def _grown(name: str, measured: list[tuple[int, float]]) -> Iterator[Row]:
    (least, reference), *_ = measured
    for voxels, seconds in measured:
        yield {
            "name": f"{name} of {voxels} voxels",
            "ours": round(seconds, 4),
            "reference": round(reference, 4),
            "unit": "s",
            "ratio": round(seconds / reference, 2),
            "max_rel_diff": 0.0,
            "voxels": voxels,
            "grown": round(voxels / least, 1),
        }


def draw(rows: list[Row], path: Path = PICTURE) -> None:
    """Two small plots: seconds of processor time against voxels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.8), dpi=100, layout="constrained")
    panels = (("N4, image", "voxels of the image (millions)", 1e6), ("features, region", "voxels of the region", 1.0))
    for axes, (name, label, unit) in zip(figure.subplots(1, 2), panels, strict=True):
        ours = [(float(r["voxels"]) / unit, float(r["ours"])) for r in rows if str(r["name"]).startswith(name)]
        axes.plot(*zip(*ours, strict=True), "o-", color="#0072B2")
        axes.set_xlabel(label)
        axes.set_ylabel("seconds (CPU)")
        axes.set_title("N4, one sequence" if unit > 1 else "851 features, one region", fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    import json

    found = list(run())
    for row in found:
        print(json.dumps(row))
    draw([row for row in found if "voxels" in row])
