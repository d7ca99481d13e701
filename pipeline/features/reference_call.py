"""The reference path: PyRadiomics' own call on the whole image, nothing left out."""

from __future__ import annotations

from typing import Any  # Any: images of SimpleITK and answers of PyRadiomics, which have no types

import numpy as np
import SimpleITK as sitk

from pipeline.features.library import FOREIGN_ERRORS, quiet
from pipeline.features.parameters import Parameters
from pipeline.features.roi_features import RoiFeatures, refused, sentence, sort_out
from pipeline.geometry import Geometry
from pipeline.records import Json, Mask, Volume


def plain_extract(volume: Volume, mask: Mask, parameters: Parameters) -> RoiFeatures:
    """Features of `mask` on `volume` by `RadiomicsFeatureExtractor.execute`. Shapes (z, y, x); any grid, any dtype."""
    label = int(parameters.settings.get("label", 1))
    labels = as_image(mask.voxels_zyx.astype(np.uint32) * np.uint32(label), mask.geometry)
    return plain_call(as_image(volume.voxels_zyx, volume.geometry), labels, parameters)


def plain_call(image: Any, labels: Any, parameters: Parameters) -> RoiFeatures:
    """The same on SimpleITK images; the label is the one in the settings."""
    names = ["_".join(parts) for parts in parameters.names()]
    try:
        with quiet():
            answers = parameters.extractor().execute(image, labels)
    except FOREIGN_ERRORS as error:
        return refused(names, sentence(error))
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    diagnostics: dict[str, Json] = {}
    for name, answer in answers.items():
        if not name.startswith("diagnostics_"):
            sort_out(name, answer, values, missing)
        elif name.startswith(("diagnostics_Image-", "diagnostics_Mask-")) and not name.endswith("_Hash"):
            diagnostics[name] = plain_json(answer)
    for name in names:
        if name not in values and name not in missing:
            missing[name] = "PyRadiomics gives no value."
    return RoiFeatures(values, missing, diagnostics)


def as_image(voxels_zyx: np.ndarray[Any, Any], geometry: Geometry) -> Any:
    """A SimpleITK image with these voxels on this grid."""
    image = sitk.GetImageFromArray(voxels_zyx)
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_xyz_mm)
    image.SetDirection(geometry.direction)
    return image


def plain_json(value: Any) -> Json:
    """Numbers, tuples and arrays as JSON has them."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        return [plain_json(v) for v in value]
    result: Json = np.asarray(value).item()
    return result
