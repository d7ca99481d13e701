"""The b-value and the kind of a diffusion image, as every vendor writes them.

Sources, tried in this order:
  (0018,9087) Diffusion b-value, PS3.3 C.8.13.5.9, also inside the MR Diffusion Sequence of a frame (bias as GE's own)
  (0019,xx0C) SIEMENS MR HEADER; (0029,xx10) SIEMENS CSA HEADER, entry B_value (Siemens before XA)
  (0043,xx39) GEMS_PARM_01, first value (GE; multi-b protocols add a bias of 1e9, dcm2niix issue 602)
  (2001,xx03) Philips Imaging DD 001
  (0065,xx09) Image Private Header (United Imaging)
  (0020,4000) Image Comments "b=1500(0.4,0.0,0.9)" (Toshiba and Canon, dcm2niix issues 388, 422)
  (0018,0024) Sequence Name "*ep_b800t" (Siemens; t: trace, #n: direction n)
Only `pydicom` is needed here, so that reading headers loads no science.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Literal, NamedTuple  # Any: DICOM values, of any type until they are checked

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from pipeline.dicom_file.fast_header import Header
from pipeline.dicom_file.structure_limits import MOST_VALUE_BYTES
from pipeline.dicom_file.text_values import clean, text_of
from pipeline.vendor_headers.siemens_csa import csa_values

Kind = Literal["trace", "direction", "none", "adc", "fa"]
GE_BIAS = 1_000_000_000
HIGHEST_B = 100_000.0

_DIRECTIONALITY: dict[str, Kind] = {
    "ISOTROPIC": "trace",
    "DIRECTIONAL": "direction",
    "BMATRIX": "direction",
    "NONE": "none",
}
_PHILIPS_DIRECTIONS: dict[str, Kind] = {"I": "trace", "N": "none"}  # else the patient axis or oblique: M, P, S, O
_GE_FLAGS: dict[int, Kind] = {14: "none", 15: "trace", 3: "direction", 4: "direction", 5: "direction", 16: "direction"}
_COMMENT = re.compile(r"\bb\s*=\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SEQUENCE_NAME = re.compile(r"b(\d+)(t|#\d+)?$", re.IGNORECASE)


class BValue(NamedTuple):
    """`value` in s/mm2 and the attribute that it came from."""

    value: float
    source: str


def b_value(dataset: Dataset, manufacturer: str = "") -> BValue | None:
    """The b-value of one image, or of one frame's functional groups; None where it says nothing.

    `manufacturer`: (0008,0070), needed to trust private elements whose creator was stripped, and for a frame
    (where it is not part of the data set).
    """
    maker = (manufacturer or text_of(dataset, "Manufacturer")).lower()
    readers: tuple[tuple[str, Callable[[Dataset, str], float | None]], ...] = (
        ("(0018,9087)", _standard),
        ("(0019,100C)", lambda d, m: _number(_private(d, 0x0019, "SIEMENS MR HEADER", 0x0C, "siemens" in m))),
        ("(0029,1010)", _csa),
        ("(0043,1039)", _ge),
        ("(2001,1003)", lambda d, m: _number(_private(d, 0x2001, "Philips Imaging DD 001", 0x03, "philips" in m), "f")),
        ("(0065,1009)", lambda d, m: _number(_private(d, 0x0065, "Image Private Header", 0x09, "uih" in m), "d")),
        ("(0020,4000)", _comments),
        ("(0018,0024)", _sequence_name),
    )
    for source, read in readers:
        value = read(dataset, maker)
        if value is not None and 0 <= value <= HIGHEST_B:
            return BValue(value, source)
    return None


def direction(dataset: Dataset) -> tuple[float, float, float] | None:
    """The gradient's unit vector (0018,9089) where it is given and not zero."""
    for place in _places(dataset, "DiffusionGradientDirectionSequence"):
        vector = place.get("DiffusionGradientOrientation")
        if vector is not None and len(vector) == 3:
            x, y, z = (float(v) for v in vector)
            if math.isfinite(x + y + z) and (x, y, z) != (0, 0, 0):
                return x, y, z
    return None


def kind(dataset: Dataset, manufacturer: str = "") -> Kind | None:
    """Whether a diffusion image is a trace, one direction, without diffusion weighting, or a map; None: not told."""
    maker = (manufacturer or text_of(dataset, "Manufacturer")).lower()
    words = set(re.split(r"[\\_\s]+", text_of(dataset, "ImageType").upper()))
    if words & {"ADC", "EADC", "APPARENT"}:
        return "adc"
    if words & {"FA", "FRACTIONAL"}:
        return "fa"
    if words & {"TRACEW", "TRACE", "ISOTROPIC", "ISO"}:
        return "trace"
    for place in _places(dataset):
        directionality = text_of(place, "DiffusionDirectionality").upper()
        if directionality:
            return _DIRECTIONALITY.get(directionality)
    return _private_kind(dataset, maker)


def _private_kind(dataset: Dataset, maker: str) -> Kind | None:
    philips = clean(_private(dataset, 0x2001, "Philips Imaging DD 001", 0x04, "philips" in maker) or "").upper()
    if philips:
        return _PHILIPS_DIRECTIONS.get(philips, "direction")
    siemens = clean(_private(dataset, 0x0019, "SIEMENS MR HEADER", 0x0D, "siemens" in maker) or "").upper()
    if siemens:
        return _DIRECTIONALITY.get(siemens)
    # GE's vas collapse flag: 14 no diffusion weighting, 15 combined, 3 to 5 and 16 single directions (dcm2niix 690).
    flag = _number(_private(dataset, 0x0043, "GEMS_PARM_01", 0x30, "ge medical" in maker))
    if flag is not None:
        return _GE_FLAGS.get(int(flag))
    match = _SEQUENCE_NAME.search(text_of(dataset, "SequenceName"))
    if match and match[2]:
        return "trace" if match[2].lower() == "t" else "direction"
    return "direction" if direction(dataset) else None


def _places(dataset: Dataset, inner: str | None = None) -> list[Dataset]:
    """The data set itself, its MR Diffusion Sequence item, and a sequence inside that."""
    places = [dataset, *(dataset.get("MRDiffusionSequence") or [])[:1]]
    if inner is not None:
        places += [item for place in places for item in (place.get(inner) or [])[:1]]
    return places


def _standard(dataset: Dataset, maker: str) -> float | None:
    for place in _places(dataset):
        value = _number(place.get("DiffusionBValue"))
        if value is not None:
            return value % GE_BIAS
        if "DiffusionDirectionality" in place and text_of(place, "DiffusionDirectionality") == "NONE":
            return 0.0
    return None


def _csa(dataset: Dataset, maker: str) -> float | None:
    header = _private(dataset, 0x0029, "SIEMENS CSA HEADER", 0x10, "siemens" in maker, bulk=True)
    values = csa_values(header, "B_value") if isinstance(header, bytes) else ()
    return _number(values[0]) if values else None


def _ge(dataset: Dataset, maker: str) -> float | None:
    value = _number(_private(dataset, 0x0043, "GEMS_PARM_01", 0x39, "ge medical" in maker))
    return None if value is None else value % GE_BIAS


def _comments(dataset: Dataset, maker: str) -> float | None:
    if not ("canon" in maker or "toshiba" in maker):
        return None
    match = _COMMENT.search(text_of(dataset, "ImageComments"))
    return float(match[1]) if match else None


def _sequence_name(dataset: Dataset, maker: str) -> float | None:
    match = _SEQUENCE_NAME.search(text_of(dataset, "SequenceName"))
    return float(match[1]) if match and "siemens" in maker else None


def _private(dataset: Dataset, group: int, creator: str, element: int, trusted: bool, *, bulk: bool = False) -> Any:
    """A private element of the creator's block; without any creator in the group, of block 10 where `trusted`.

    Only one that is `bulk` may be longer than any number or text.
    """
    if isinstance(dataset, Header) and group not in dataset.groups:
        return None
    here = [int(tag) & 0xFFFF for tag in dataset.keys() if int(tag) >> 16 == group]  # noqa: SIM118 - no iteration of elements
    if not here:
        return None
    try:
        block = dataset.private_block(group, creator)
        return block[element].value if bulk or not _too_long(dataset, block.get_tag(element)) else None
    except KeyError:
        pass
    if not trusted or any(0x10 <= number < 0x100 for number in here):
        return None
    tag = Tag(group, 0x1000 + element)
    value = dataset.get(tag) if bulk or not _too_long(dataset, tag) else None
    return None if value is None else value.value


def _too_long(dataset: Dataset, tag: BaseTag) -> bool:
    """Whether a value is longer than any text or number, and so would be made into millions of objects."""
    element: Any = dataset.get_item(tag) if tag in dataset else None
    return isinstance(element, RawDataElement) and len(element.value or b"") > MOST_VALUE_BYTES


def _number(value: Any, binary: Literal["f", "d"] | None = None) -> float | None:
    """The first value as a finite number; of bytes (VR UN) as text, or as one little-endian binary number."""
    if isinstance(value, bytes):
        if binary is not None and len(value) == struct.calcsize("<" + binary):
            value = struct.unpack("<" + binary, value)[0]
        else:
            value = value.decode("latin-1").strip(" \0").split("\\")[0]
    elif not isinstance(value, (str, int, float)) and value is not None:
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
