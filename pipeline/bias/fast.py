"""N4 by matrix products: the numbers of `reference` in a few hundredths of its time.

What takes ITK its time is a loop over all points and all of a point's control points, for the fit and again for the
evaluation; on a regular grid both are separable (`lattice`). The rest follows ITK step by step, down to where it
rounds to float32, because the number of iterations hangs on it (`convergence`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from config.schema import Bias
from pipeline.bias import convergence, histogram
from pipeline.bias.lattice import ORDER, Splines, refine
from pipeline.bias.problem import Problem

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


def fit(problem: Problem, settings: Bias) -> tuple[F64, tuple[int, ...]]:
    """The control points (z, y, x) of the log field after the last level, and the iterations done at each."""
    shape = problem.image_zyx.shape
    box = _bounding_box(problem.mask_zyx)
    mask = np.ascontiguousarray(problem.mask_zyx[box])
    inside = np.flatnonzero(mask)
    log_image = _log_where_positive(problem.image_zyx[box].reshape(-1)[inside])
    log_field = np.zeros_like(log_image)
    residual = np.zeros(mask.shape, dtype=np.float32)
    spans = np.array(settings.mesh[::-1])
    lattice = np.zeros(spans + ORDER)
    done = []
    for level, limit in enumerate(settings.iterations):
        if level:
            spans, lattice = 2 * spans, refine(lattice)
        splines = Splines.of(mask.astype(np.float32), box, shape, tuple(spans.tolist()))
        count, going = 0, True
        while count < limit and going:
            count += 1
            uncorrected = log_image - log_field
            residual.reshape(-1)[inside] = uncorrected - histogram.sharpen(uncorrected, settings)
            lattice = lattice + splines.fit(residual)
            new_field = splines.evaluate(lattice).reshape(-1)[inside]
            going = convergence.goes_on(log_field - new_field, settings.threshold)
            log_field = new_field
        done.append(count)
    return lattice, tuple(done)


def _log_where_positive(values: F32) -> F32:
    """ITK takes the logarithm of positive voxels and leaves the others as they are."""
    logs = values.copy()
    positive = values > 0
    logs[positive] = np.log(values[positive].astype(np.float64))
    return logs


def _bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)
