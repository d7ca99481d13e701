"""Proposed regions as a segmentation for a reader to check. The mark of `own_mark` keeps it from counting as drawn.

Its labels are in English whatever the language of reports, for it is by them that an edited copy is understood: label
and number are all that some viewers keep of a segment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import common_attributes
from dicom_sr.report_source import ReportSource
from dicom_sr.segmentation import coded_region, put_frames
from dicom_sr.sop_classes import SEGMENTATION
from dicom_sr.uids import derived
from pipeline.catalog.acceptance import NOT_VERIFIED, quality_words
from pipeline.catalog.own_mark import algorithm_item, put_mark
from pipeline.proposal.records import Labelled
from pipeline.records import Mask, Origin, Volume
from pipeline.roi.describe import AUTOMATIC
from pipeline.roi.grid_regions import GridRegion, grid_regions

SERIES_NUMBER = 9909
# Added for a region by a model that was trained on phantoms alone.
DEMONSTRATION = "demonstration"
# CID 7162: what kind of method made a region from the images alone.
FAMILIES: dict[Origin, tuple[str, str, str]] = {
    "enhancement": ("123105", "DCM", "Histogram Analysis"),
    "model": ("123110", "DCM", "Artificial Intelligence"),
}


def proposal_segmentation(regions: Sequence[Labelled], t1c: Volume, source: ReportSource, settings: Settings) -> bytes:
    """A BINARY SEG (PS3.3 A.51) on the slices of T1+C, one segment per region; equal regions give equal UIDs.

    Raises ValueError without a region.
    """
    on_grid = [_on_grid(region, t1c) for region in regions]
    key = hashlib.sha256()
    for region, part in zip(regions, on_grid, strict=True):
        key.update(f"{region.label}\0{part.series_uid}\0{part.offset_zyx}\0{part.voxels_zyx.shape}\0".encode())
        key.update(np.packbits(part.voxels_zyx).tobytes())
    ds = _start(source, settings, key.hexdigest())
    ds.FrameOfReferenceUID = t1c.geometry.frame_of_reference_uid or derived(
        settings.site.uid_root, "frame of reference", t1c.series_uid
    )
    ds.SegmentSequence = [_segment(n, region, settings, source) for n, region in enumerate(regions, 1)]
    if any(DEMONSTRATION in region.words for region in regions):
        ds.SeriesDescription = ds.ContentDescription = f"{NOT_VERIFIED}, {DEMONSTRATION}"
    put_frames(ds, on_grid, settings)
    put_mark(ds, "proposal")
    return common_attributes.to_bytes(ds, source)


def is_demonstration(path: Path) -> bool:
    """Whether a model that was trained on phantoms alone made the regions of a segmentation of ours."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).get("ContentDescription", "")).endswith(DEMONSTRATION)


def _on_grid(region: Labelled, t1c: Volume) -> GridRegion:
    parts = grid_regions({"t1c": t1c}, {("t1c", region.role, region.side): Mask(region.mask, t1c.geometry)})
    if not parts:
        raise ValueError(f"the region {region.label} has no voxel")
    return parts[0]


def _start(source: ReportSource, settings: Settings, key: str) -> Dataset:
    ds = Dataset()
    for element in source.patient_study:
        ds.add(element)
    root = settings.site.uid_root
    ds.SOPClassUID, ds.Modality = SEGMENTATION, "SEG"
    ds.SOPInstanceUID = derived(root, "proposal", source.study_uid, key)
    ds.SeriesInstanceUID = derived(root, "proposal series", source.study_uid, key)
    ds.SeriesNumber, ds.InstanceNumber = SERIES_NUMBER, 1
    began = common_attributes.began_local(source, settings)
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = began.strftime("%Y%m%d")
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = began.strftime("%H%M%S")
    if source.timezone_offset:
        ds.TimezoneOffsetFromUTC = source.timezone_offset
    ds.Manufacturer, ds.ManufacturerModelName = settings.report.manufacturer, "axrad proposal"
    ds.InstitutionName = settings.site.institution or None
    ds.DeviceSerialNumber, ds.SoftwareVersions = "none", f"axrad {version('axrad')}"
    ds.SeriesDescription = NOT_VERIFIED
    ds.PositionReferenceIndicator = None
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "PROPOSAL", NOT_VERIFIED, None
    ds.LossyImageCompression, ds.SegmentationType = "00", "BINARY"
    return ds


def _segment(number: int, region: Labelled, settings: Settings, source: ReportSource) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = item.TrackingID = region.label[:64]
    item.TrackingUID = derived(settings.site.uid_root, "proposal tracking", source.study_uid, region.label)
    item.SegmentDescription = quality_words(region.words)
    item.SegmentAlgorithmType, item.SegmentAlgorithmName = "SEMIAUTOMATIC", "axrad proposal"
    if region.algorithm is not None:
        name, release = region.algorithm
        item.SegmentAlgorithmType, item.SegmentAlgorithmName = AUTOMATIC, name[:64]
        item.SegmentationAlgorithmIdentificationSequence = [algorithm_item(name, release, FAMILIES[region.origin])]
    coded_region(item, region.role, region.side)
    return item
