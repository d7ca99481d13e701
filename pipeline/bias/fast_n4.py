"""N4 by matrix products: the numbers of `reference` in a few hundredths of its time.

What takes ITK its time is a loop over all points and all of a point's control points, for the fit and again for the
evaluation; on a regular grid both are separable (`lattice`). The rest follows ITK step by step, down to where it
rounds to float32, because the number of iterations hangs on it (`convergence`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from config.schema import Bias
from pipeline.bias import c_library, convergence, histogram
from pipeline.bias.itk_order_splines import OrderedSplines
from pipeline.bias.lattice import ORDER, Splines, refine
from pipeline.bias.n4_input import Problem

F32 = npt.NDArray[np.float32]
# Below, roundings show in the result, and sums are made in ITK's order; above, by matrix products
STABLE_VOXELS = 10_000


def fit(problem: Problem, settings: Bias) -> tuple[F32, tuple[int, ...]]:
    """The control points (z, y, x) of the log field after the last level, and the iterations done at each."""
    log_image = _log_where_positive(problem.image_zyx[problem.mask_zyx])
    log_field = np.zeros_like(log_image)
    spans = settings.mesh[::-1]
    lattice = np.zeros([k + ORDER for k in spans], dtype=np.float32)
    done = []
    for level, limit in enumerate(settings.iterations):
        if level:
            spans, lattice = (2 * spans[0], 2 * spans[1], 2 * spans[2]), refine(lattice)
        splines = _splines(problem, spans)
        count, going = 0, True
        while count < limit and going:
            count += 1
            uncorrected = log_image - log_field
            lattice = lattice + splines.fit(uncorrected - histogram.sharpen(uncorrected, settings))
            new_field = splines.evaluate(lattice)
            going = convergence.goes_on(log_field - new_field, settings.threshold)
            log_field = new_field
        done.append(count)
    return lattice, tuple(done)


def _splines(problem: Problem, spans_zyx: tuple[int, int, int]) -> Splines | OrderedSplines:
    if problem.mask_voxels < STABLE_VOXELS:
        return OrderedSplines.of(problem.mask_zyx, problem.grid, spans_zyx)
    return Splines.of(problem.mask_zyx, spans_zyx)


def _log_where_positive(values: F32) -> F32:
    """ITK takes the logarithm of positive voxels and leaves the others as they are."""
    logs = values.copy()
    positive = values > 0
    if values.size < STABLE_VOXELS:
        logs[positive] = c_library.log(values[positive])
    else:
        logs[positive] = np.log(values[positive].astype(np.float64))
    return logs
