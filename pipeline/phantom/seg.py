"""The radiologist's ROIs as a workstation would send them: a BINARY SEG on the T1+C series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.phantom.spec import PhantomSpec
from pipeline.records import Code, Side

ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM = Code("86049000", "SCT", "Neoplasm, Primary")
STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
LYMPH_NODE = Code("59441001", "SCT", "Lymph node")
BREAST = Code("76752008", "SCT", "Breast")
AXILLARY = Code("68171009", "SCT", "Axillary lymph node")
SIDES: dict[Side, Code] = {"L": Code("7771000", "SCT", "Left"), "R": Code("24028007", "SCT", "Right")}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One segment to be written. `mask_zyx`: bool on the source images' grid, in the order of the source images."""

    label: str
    mask_zyx: npt.NDArray[np.bool_]
    category: Code
    type: Code
    anatomy: Code
    side: Side | None
    tracking_uid: str
    tracking_id: str


def drawings_of(spec: PhantomSpec, side: Side | None, masks: Mapping[str, npt.NDArray[np.bool_]]) -> list[Drawing]:
    """Masks by segment label: "Tumor" is coded as the tumour, everything else as an axillary lymph node."""
    drawings = []
    for n, (label, mask) in enumerate(masks.items()):
        codes = (ABNORMAL, NEOPLASM, BREAST) if label == "Tumor" else (STRUCTURE, LYMPH_NODE, AXILLARY)
        drawings.append(Drawing(label, mask, *codes, side, spec.uid("tracking", n), label))
    return drawings


def _coded(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _description(number: int, drawing: Drawing) -> SegmentDescription:
    anatomy = _coded(drawing.anatomy)
    if drawing.side is not None:
        anatomy.AnatomicRegionModifierSequence = DicomSequence([_coded(SIDES[drawing.side])])
    return SegmentDescription(
        segment_number=number,
        segment_label=drawing.label,
        segmented_property_category=DicomCode(
            drawing.category.value, drawing.category.scheme, drawing.category.meaning
        ),
        segmented_property_type=DicomCode(drawing.type.value, drawing.type.scheme, drawing.type.meaning),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=drawing.tracking_uid,
        tracking_id=drawing.tracking_id,
        anatomic_regions=[anatomy],
    )


def make_seg(
    images: Sequence[Dataset],
    drawings: Sequence[Drawing],
    *,
    series_uid: str,
    sop_uid: str,
    organization_uid: str,
    series_number: int,
    date: str,
    time: str,
) -> Segmentation:
    """A SEG that refers to `images` (one per slice, in the order of the masks' first axis).

    highdicom stamps the current time and random UIDs where it is not given any; they are replaced, so that equal
    input gives equal bytes.
    """
    pixels = np.stack([d.mask_zyx for d in drawings], axis=-1).astype(np.uint8)
    seg = Segmentation(
        source_images=list(images),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(n, d) for n, d in enumerate(drawings, 1)],
        series_instance_uid=series_uid,
        series_number=series_number,
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer="axrad",
        manufacturer_model_name="Phantom workstation",
        software_versions="1",
        device_serial_number="00000",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="ROIS",
        content_description="Tumour and axillary lymph nodes",
        content_creator_name="Reader^Synthetic",
        series_description="ROIs tumour and axillary lymph nodes",
        omit_empty_frames=True,
    )
    seg.SeriesDate = seg.ContentDate = seg.InstanceCreationDate = date
    seg.SeriesTime = seg.ContentTime = seg.InstanceCreationTime = time
    for equipment in seg.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = date + time
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in seg[sequence].value:
            item.DimensionOrganizationUID = organization_uid
    return seg
