"""Float and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25): no bits to mask, and a value that stands for none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.dicom_file.checked_numbers import number, whole_number

# By Bits Allocated: the attribute whose value stands for a pixel without one.
PADDING = {32: "FloatPixelPaddingValue", 64: "DoubleFloatPixelPaddingValue"}


def holds_floats(ds: Dataset) -> bool:
    """By its header alone: whole numbers of this size have a Pixel Representation."""
    return whole_number(ds, "BitsAllocated") in PADDING and "PixelRepresentation" not in ds


def without_padding(pixels: npt.NDArray[np.generic], ds: Dataset) -> npt.NDArray[np.generic]:
    """The same with NaN where nothing is known."""
    empty = number(ds, PADDING[pixels.dtype.itemsize * 8])
    if empty is None:
        return pixels
    return np.where(pixels == pixels.dtype.type(empty), pixels.dtype.type(np.nan), pixels)
