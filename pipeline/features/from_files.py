"""Features of one ROI from an image file and a label file, any format that SimpleITK reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any  # Any: SimpleITK's objects, which have no types

import numpy as np
import SimpleITK as sitk

from pipeline.errors import InputRejected
from pipeline.features.extraction import extract_sequence
from pipeline.features.parameters import Parameters
from pipeline.features.reference_call import plain_call
from pipeline.features.roi_features import RoiFeatures, refused
from pipeline.geometry import Geometry
from pipeline.records import Mask, Volume

SitkImage = Any
# ITK's tolerance for "the same physical space", in units of the first spacing and of direction cosines
TOLERANCE = 1e-6


def extract_files(image_path: Path, mask_path: Path, parameters: Parameters) -> RoiFeatures:
    """Features of the voxels that carry the label of `parameters` (1 where it has none).

    What the exact crop is not made for (other dimensions than three, several channels, parameters that look at
    the whole image) goes to PyRadiomics' plain call, which computes or refuses as it always does.

    Raises: InputRejected if a file cannot be read, or is no volume where a sequence's preparation is asked for.
    """
    image, labels = _read(image_path), _read(mask_path)
    label = int(parameters.settings.get("label", 1))
    ours = parameters.standard is not None or parameters.ibsi_grid
    volumes = _is_volume(image) and _is_volume(labels)
    if ours and not volumes:
        raise InputRejected(f"{image_path} is no volume: it cannot be prepared as its sequence asks.", code="bad-image")
    if not (volumes and (parameters.local or ours)):
        return plain_call(image, labels, parameters)
    if not _same_grid(image, labels):
        names = ["_".join(parts) for parts in parameters.names()]
        return refused(names, f"The mask lies on another grid ({_grid(labels)}) than the image ({_grid(image)}).")
    inside = sitk.GetArrayFromImage(sitk.Cast(labels, sitk.sitkUInt32)) == label
    if not inside.any():
        return plain_call(image, labels, parameters)
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    geometry = Geometry((z, y, x), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    volume = Volume(voxels, geometry, series_uid="")
    # one ROI without a role of its own
    return extract_sequence(volume, {"tumor": Mask(inside, geometry)}, parameters)["tumor"]


def _read(path: Path) -> SitkImage:
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputRejected(f"{path} is not an image that SimpleITK reads.", code="bad-image") from error


def _is_volume(image: SitkImage) -> bool:
    return (
        image.GetDimension() == 3
        and image.GetNumberOfComponentsPerPixel() == 1
        and "vector" not in image.GetPixelIDTypeAsString()
        and "complex" not in image.GetPixelIDTypeAsString()
    )


def _grid(image: SitkImage) -> str:
    size, spacing, origin = (
        " x ".join(f"{n:g}" for n in get()) for get in (image.GetSize, image.GetSpacing, image.GetOrigin)
    )
    return f"size {size}, spacing {spacing} mm, origin {origin}"


def _same_grid(image: SitkImage, labels: SitkImage) -> bool:
    if image.GetSize() != labels.GetSize():
        return False
    near = TOLERANCE * image.GetSpacing()[0]
    return all(
        np.allclose(a, b, rtol=0, atol=tolerance)
        for a, b, tolerance in (
            (image.GetOrigin(), labels.GetOrigin(), near),
            (image.GetSpacing(), labels.GetSpacing(), near),
            (image.GetDirection(), labels.GetDirection(), TOLERANCE),
        )
    )
