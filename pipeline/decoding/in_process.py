"""One frame to its pixels, in this process: compressed ones are for the child that may die of it, and for tests."""

from __future__ import annotations

from typing import Any  # Any: options of pydicom's decoder, each of its own type

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from pipeline.codestream import Shape


def decode(data: bytes, syntax: str, shape: Shape, *, raw: bool = True) -> npt.NDArray[np.generic]:
    """The pixels of one frame, (rows, columns) or (rows, columns, samples). `raw`: colours as they are coded.

    Raises whatever pydicom and the decoders raise.
    """
    # Bits beyond those that are stored must be seen before anyone clears them.
    options = {"pixel_keyword": "PixelData", "correct_unused_bits": False}
    return np.ascontiguousarray(_as_array(encapsulate([data], has_bot=False), syntax, shape, options, raw))


def lay_out(data: bytes, shape: Shape, keyword: str, *, raw: bool) -> npt.NDArray[np.generic]:
    """The same of a frame without compression, little endian."""
    return _as_array(data, ExplicitVRLittleEndian, shape, {"pixel_keyword": keyword, "pixel_vr": "OW"}, raw)


def _as_array(data: bytes, syntax: str, shape: Shape, options: dict[str, Any], raw: bool) -> npt.NDArray[np.generic]:
    options |= {
        "rows": shape.rows,
        "columns": shape.columns,
        "number_of_frames": 1,
        "samples_per_pixel": shape.samples,
        "bits_allocated": shape.allocated,
        "bits_stored": shape.stored,
        "pixel_representation": int(shape.signed),
        "photometric_interpretation": shape.photometric,
        "planar_configuration": shape.planar,
    }
    pixels, _ = get_decoder(UID(syntax)).as_array(data, index=0, raw=raw, **options)
    return pixels
