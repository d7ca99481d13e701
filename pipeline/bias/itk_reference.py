"""The reference: SimpleITK's N4BiasFieldCorrectionImageFilter.

Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE Trans Med Imaging 29(6), 2010.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from config.schema import Bias
from pipeline.bias.n4_input import Problem, as_image

SPLINE_ORDER = 3


def fit(problem: Problem, settings: Bias) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
    """The log field on the whole grid, float32 (z, y, x), and the iterations done at each level."""
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(settings.iterations)
    n4.SetConvergenceThreshold(settings.threshold)
    n4.SetNumberOfControlPoints([mesh + SPLINE_ORDER for mesh in settings.mesh])
    n4.SetSplineOrder(SPLINE_ORDER)
    n4.SetBiasFieldFullWidthAtHalfMaximum(settings.fwhm)
    n4.SetWienerFilterNoise(settings.wiener_noise)
    n4.SetNumberOfHistogramBins(settings.histogram_bins)
    done: Counter[int] = Counter()
    # ITK tells only the last level's count afterwards, so each iteration is counted as it ends
    n4.AddCommand(sitk.sitkIterationEvent, lambda: done.update([n4.GetCurrentLevel()]))
    n4.Execute(as_image(problem.image_zyx, problem.grid), as_image(problem.mask_zyx.astype(np.uint8), problem.grid))
    whole = sitk.Image(tuple(reversed(problem.whole.shape_zyx)), sitk.sitkFloat32)
    field: npt.NDArray[np.float32] = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole))
    return field, tuple(done[level] for level in range(len(settings.iterations)))
