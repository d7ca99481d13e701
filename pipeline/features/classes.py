"""PyRadiomics' feature classes on arrays that are cut to the ROI already, the grey levels binned once for all of them.

The arithmetic is PyRadiomics' own: the classes below change only where the mask and the binned image come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any  # Any: PyRadiomics' classes and settings, which have no types; voxels of any number

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.features.fast_methods import COUNTED, FASTER
from pipeline.features.library import FOREIGN_ERRORS, feature_classes, imageoperations
from pipeline.features.matrices import Textures
from pipeline.features.neighbours import Neighbourhood
from pipeline.features.roi_features import sentence, sort_out

Array = npt.NDArray[Any]

# Memory: the co-occurrence matrix is (bins)^2 x 13 doubles, of which a page is touched only where levels occur, and
# (levels that occur)^2 x 13 doubles several times over. A scale mistake (an ADC in mm2/s x 1e9) ends here, not in
# the kernel's out-of-memory killer.
MAX_BINS = 10_000
MAX_LEVELS = 2_000


@dataclass(frozen=True)
class Binned:
    """A ROI's voxels in C order: `inside`, their values, and `levels`, their grey levels from 1; both (voxels,)."""

    mask_zyx: npt.NDArray[np.bool_]
    inside: Array
    levels: npt.NDArray[np.intp]
    around: Neighbourhood

    @cached_property
    def textures(self) -> Textures:
        return Textures(self.levels, self.around)

    @property
    def present(self) -> npt.NDArray[np.intp]:
        return self.textures.present

    @property
    def highest(self) -> int:
        return int(self.present[-1])

    @cached_property
    def levels_zyx(self) -> npt.NDArray[np.intc]:
        """1...`highest` inside the ROI and 0 outside, in the type that PyRadiomics' C code reads."""
        levels = np.zeros(self.mask_zyx.shape, dtype=np.intc)
        levels[self.mask_zyx] = self.levels
        return levels


def bin_levels(
    image_zyx: Array, mask_zyx: npt.NDArray[np.bool_], around: Neighbourhood, settings: Mapping[str, Any]
) -> Binned:
    """PyRadiomics' discretisation. With a bin width its edges follow from the extremes alone, found here by numpy.

    Raises: ValueError for more than `MAX_BINS`; what PyRadiomics raises, e.g. ValueError for values not finite.
    """
    inside = image_zyx.ravel().take(around.inside)
    extremes = np.array([inside.min(), inside.max()])
    if settings.get("binCount") is not None:
        extremes = inside
    elif (bins := float(np.subtract(*extremes[::-1], dtype=np.float64)) / settings.get("binWidth", 25)) > MAX_BINS:
        raise ValueError(f"{bins:.0f} grey levels are more than {MAX_BINS}; is the image scaled as it should be?")
    edges = imageoperations.getBinEdges(extremes, **settings)
    return Binned(mask_zyx, inside, np.digitize(inside, edges), around)


class _OnCrop:
    """Mixed into PyRadiomics' classes: mask and binned levels are handed in as the setting `binned`."""

    settings: dict[str, Any]
    coefficients: dict[str, Any]

    def _initSegmentBasedCalculation(self) -> None:
        # a copy: the C code marks visited voxels
        self.maskArray = self.settings["binned"].mask_zyx.copy()  # PyRadiomics' attribute

    def _applyBinning(self, matrix: Array) -> Array:
        binned: Binned = self.settings["binned"]
        self.coefficients["grayLevels"] = binned.present
        self.coefficients["Ng"] = binned.highest
        return binned.levels_zyx


# As PyRadiomics counts, and what is counted here; other settings are left to its C code.
_COUNTED = {"distances": ([1],), "weightingNorm": (), "gldm_a": (0,)}


def _counts(settings: Mapping[str, Any]) -> bool:
    return all(settings.get(key) is None or settings[key] in usual for key, usual in _COUNTED.items())


@cache
def _on_crop(class_name: str, counted: bool) -> type[Any]:
    theirs = (COUNTED if counted else FASTER).get(class_name) or feature_classes()[class_name]
    names = theirs.getFeatureNames()  # by inspection, slow, always the same
    # under their module's name, because that is the logger they write to
    ours = {"getFeatureNames": classmethod(lambda cls: dict(names)), "__module__": f"radiomics.{class_name}"}
    return type(theirs.__name__, (_OnCrop, theirs), ours)


def texture(
    image: str,
    voxels_zyx: Array,
    binned: Binned,
    spacing_xyz_mm: tuple[float, float, float],
    settings: Mapping[str, Any],
    wanted: Mapping[str, Iterable[str]],
    values: dict[str, float],
    missing: dict[str, str],
) -> None:
    """Features of one (derived) image, cut to the ROI's box; `wanted` has features by class. Fills the last two."""
    picture = sitk.GetImageFromArray(voxels_zyx)
    picture.SetSpacing(spacing_xyz_mm)
    counted = _counts(settings)
    for class_name, features in wanted.items():
        try:
            if class_name == "glcm" and len(binned.present) > MAX_LEVELS:
                raise ValueError(f"{len(binned.present)} grey levels occur, more than {MAX_LEVELS}")
            calculator = _on_crop(class_name, counted)(picture, picture, **settings, binned=binned)
            _run(calculator, features, f"{image}_{class_name}", values, missing)
        except FOREIGN_ERRORS as error:
            missing.update(dict.fromkeys((f"{image}_{class_name}_{f}" for f in features), sentence(error)))


def shape(
    mask_zyx: npt.NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
    settings: Mapping[str, Any],
    features: Iterable[str],
) -> tuple[dict[str, float], dict[str, str]]:
    """Shape features of a mask that is cut to its box: values and what is missing."""
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    label = int(settings.get("label", 1))
    picture = sitk.GetImageFromArray(mask_zyx.astype(np.uint32) * np.uint32(label))
    picture.SetSpacing(spacing_xyz_mm)
    try:
        _run(feature_classes()["shape"](picture, picture, **settings), features, "original_shape", values, missing)
    except FOREIGN_ERRORS as error:
        missing.update(dict.fromkeys((f"original_shape_{f}" for f in features), sentence(error)))
    return values, missing


def _run(
    calculator: Any, features: Iterable[str], prefix: str, values: dict[str, float], missing: dict[str, str]
) -> None:
    for feature in features:
        calculator.enableFeatureByName(feature)
    answers = calculator.execute()
    for feature in features:
        name = f"{prefix}_{feature}"
        if feature in answers:
            sort_out(name, answers[feature], values, missing)
        else:
            missing[name] = "PyRadiomics gives no value."
