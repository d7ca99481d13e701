"""Single volumes in files that SimpleITK reads (NRRD, NIfTI, MetaImage, ...), for work on one image alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pipeline.bias.n4_input import as_image
from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume


def read_image(path: Path) -> Volume:
    """The volume in `path`.

    Raises:
        InputRejected: no image, or not one number per voxel in three dimensions.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputRejected(f"{path} is not an image that SimpleITK reads") from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise InputRejected(
            f"{path} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} numbers per "
            "voxel; a volume has 3 and 1"
        )
    voxels = sitk.GetArrayFromImage(image)
    if np.iscomplexobj(voxels):
        raise InputRejected(f"{path} has complex voxels; take their magnitude first")
    z, y, x = voxels.shape
    geometry = Geometry((z, y, x), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return Volume(voxels, geometry, series_uid=path.name)


def write_image(volume: Volume, path: Path) -> None:
    """Write `volume` in the format that the end of `path` names.

    Raises:
        InputRejected: the format is not known or the file cannot be written.
    """
    try:
        sitk.WriteImage(as_image(volume.voxels_zyx, volume.geometry), str(path), useCompression=True)
    except RuntimeError as error:
        raise InputRejected(
            f"cannot write {path}: the folder must exist and the name end as an image file does (.nrrd, .nii.gz, .mha)"
        ) from error
