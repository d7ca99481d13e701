"""Segmentations that axrad writes: the union of a region's segments, and regions as carried onto T2 and ADC.

Each holds the mark of `pipeline.catalog.own_mark`, so that it never counts as a region when it comes back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from config.schema import Settings
from dicom_sr import codes, common_attributes, tracking
from dicom_sr.kinds import UNION_PREFIX
from dicom_sr.language import words_of
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import SEGMENTATION
from dicom_sr.uids import derived
from pipeline.catalog.own_mark import put_mark
from pipeline.geometry import Geometry
from pipeline.records import Code, Role, Side, SliceSource
from pipeline.result import StudyResult
from pipeline.roi.grid_regions import GridRegion

# Category, type and place of each region, in codes that say no more than where and what was outlined.
_CODED: dict[Role, tuple[Code, Code, Code]] = {
    "tumor": (codes.ABNORMAL_STRUCTURE, codes.LESION, codes.BREAST),
    "lymph_nodes": (codes.ANATOMICAL_STRUCTURE, codes.LYMPH_NODE, codes.AXILLARY_NODE),
}
# In CIELab as PCS-Values (PS3.3 C.10.7.1.1): the page's colours, sRGB (255, 214, 10) and (255, 100, 170).
_COLOURS: dict[Role, tuple[int, int, int]] = {"tumor": (56812, 32551, 55028), "lymph_nodes": (42194, 49651, 31200)}


def segmentation(
    kind: str, regions: Sequence[GridRegion], result: StudyResult, source: ReportSource, settings: Settings
) -> bytes:
    """A BINARY SEG (PS3.3 A.51) with one segment per region; all of them lie on one grid."""
    grid = regions[0].geometry
    ds = common_attributes.start(result, source, settings, kind, SEGMENTATION, "SEG")
    union = kind.startswith(UNION_PREFIX)
    sequence = codes.SEQUENCE_NAMES[regions[0].sequence]
    say, what = words_of(settings), "union" if union else "carried"
    ds.SeriesDescription = common_attributes.described(result, f"what_{what}", settings, sequence=sequence)
    ds.FrameOfReferenceUID = grid.frame_of_reference_uid
    ds.PositionReferenceIndicator = None
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel = "UNION" if union else "CARRIED"
    ds.ContentDescription = say(f"{what}_description")
    ds.ContentCreatorName = None
    ds.LossyImageCompression = "00"
    ds.SegmentationType = "BINARY"
    ds.SegmentSequence = [_segment(n, r, result, settings, union) for n, r in enumerate(regions, 1)]
    put_frames(ds, regions, settings)
    put_mark(ds, "union" if union else "carried")
    return common_attributes.to_bytes(ds, source)


def _segment(number: int, region: GridRegion, result: StudyResult, settings: Settings, union: bool) -> Dataset:
    part = next((part for side, part in result.parts() if side == region.side), None)
    roi = part.rois.get(region.role) if part is not None else None
    item = Dataset()
    item.SegmentNumber = number
    if roi is not None:
        tracked = tracking.of_region(result, settings, region.role, region.side, roi)
        item.SegmentLabel, item.TrackingID, item.TrackingUID = tracked.identifier[:64], tracked.identifier, tracked.uid
    else:
        item.SegmentLabel = words_of(settings)(f"tracked_{region.role}")
    item.SegmentAlgorithmType = "SEMIAUTOMATIC"
    item.SegmentAlgorithmName = "axrad union" if union else "axrad resampling"
    coded_region(item, region.role, region.side)
    return item


def coded_region(item: Dataset, role: Role, side: Side | None) -> None:
    """Category, type and place of a segment, and the colour to show it in."""
    category, kind, place = _CODED[role]
    item.SegmentedPropertyCategoryCodeSequence = [common_attributes.code_item(category)]
    item.SegmentedPropertyTypeCodeSequence = [common_attributes.code_item(kind)]
    anatomy = common_attributes.code_item(place)
    if side is not None:
        anatomy.AnatomicRegionModifierSequence = [common_attributes.code_item(codes.SIDES[side])]
    item.AnatomicRegionSequence = [anatomy]
    item.RecommendedDisplayCIELabValue = list(_COLOURS[role])


def put_frames(ds: Dataset, regions: Sequence[GridRegion], settings: Settings) -> None:
    """Multi-frame modules (PS3.3 C.7.6.16, C.7.6.17): one frame per segment and slice that has a voxel of it.

    All regions lie on one grid; the first is segment 1.
    """
    grid = regions[0].geometry
    frames = [
        (number, z, drawn, region.sources_z) for number, region in enumerate(regions, 1) for z, drawn in region.slices()
    ]
    depth = {z: n for n, z in enumerate(sorted({z for _, z, _, _ in frames}), 1)}
    organization = derived(settings.site.uid_root, ds.SOPInstanceUID, "dimensions")
    _dimensions(ds, organization)
    ds.SharedFunctionalGroupsSequence = [_shared(grid)]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame(number, z, depth[z], grid, sources) for number, z, _, sources in frames
    ]
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = grid.shape_zyx[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    bits = np.packbits(np.stack([drawn for _, _, drawn, _ in frames]).ravel(), bitorder="little").tobytes()
    ds.PixelData = bits + b"\0" * (len(bits) % 2)
    ds["PixelData"].VR = "OB"
    used = {sources[z].ref for _, z, _, sources in frames if sources}
    if used:
        ds.ReferencedSeriesSequence = []
        for series_uid in sorted({ref.series_uid for ref in used}):
            series = Dataset()
            series.SeriesInstanceUID = series_uid
            mine = sorted(ref for ref in used if ref.series_uid == series_uid)
            series.ReferencedInstanceSequence = [common_attributes.sop_item(ref) for ref in mine]
            ds.ReferencedSeriesSequence.append(series)


def _dimensions(ds: Dataset, organization: str) -> None:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    ds.DimensionOrganizationSequence = [item]
    ds.DimensionIndexSequence = []
    for pointer, group in (
        ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
        ("ImagePositionPatient", "PlanePositionSequence"),
    ):
        index = Dataset()
        index.DimensionOrganizationUID = organization
        index.DimensionIndexPointer, index.FunctionalGroupPointer = Tag(pointer), Tag(group)
        index.DimensionDescriptionLabel = pointer
        ds.DimensionIndexSequence.append(index)


def _shared(grid: Geometry) -> Dataset:
    x, y, z = grid.spacing_xyz_mm
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_ds(y), _ds(x)]
    measures.SliceThickness = measures.SpacingBetweenSlices = _ds(z)
    columns = np.asarray(grid.direction).reshape(3, 3)
    orientation.ImageOrientationPatient = [_ds(v) for v in (*columns[:, 0], *columns[:, 1])]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    return shared


def _frame(number: int, z: int, depth: int, grid: Geometry, sources: tuple[SliceSource, ...]) -> Dataset:
    content, position, segment, groups = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [number, depth]
    position.ImagePositionPatient = [_ds(v) for v in (grid.affine @ (0, 0, z, 1))[:3]]
    segment.ReferencedSegmentNumber = number
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [position]
    groups.SegmentIdentificationSequence = [segment]
    if sources:
        image = common_attributes.sop_item(sources[z].ref)
        frame = sources[z].frame
        if frame is not None:
            image.ReferencedFrameNumber = frame
        image.PurposeOfReferenceCodeSequence = [common_attributes.code_item(codes.SOURCE_IMAGE)]
        derivation = Dataset()
        derivation.DerivationCodeSequence = [common_attributes.code_item(codes.SEGMENTATION_DERIVATION)]
        derivation.SourceImageSequence = [image]
        groups.DerivationImageSequence = [derivation]
    return groups


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{float(value) + 0.0:.9g}"
