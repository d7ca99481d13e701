"""Small DICOM images, segmentations, structure sets and registrations on any grid, written by hand."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset
from pydicom import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.catalog import InstanceFacts
from pipeline.geometry import Geometry
from pipeline.records import InstanceRef, SliceSource, Volume

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SEG, LABELMAP_SEG = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT, REGISTRATION = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.1"
FRAME, STUDY = "1.2.3.4.5", "1.2.3.4"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
NEOPLASM = ("108369006", "SCT", "Neoplasm")
LYMPH_NODE = ("59441001", "SCT", "Lymph node")
TISSUE = ("85756007", "SCT", "Tissue")


def uid(*parts: object) -> str:
    """A UID that is the same for the same parts."""
    return f"1.2.3.{zlib.crc32(repr(parts).encode())}"


def grid(
    shape_zyx: tuple[int, int, int] = (6, 8, 10),
    spacing_xyz_mm: tuple[float, float, float] = (1.0, 1.0, 2.0),
    origin_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    direction: tuple[float, ...] = AXIAL,
    frame: str | None = FRAME,
) -> Geometry:
    return Geometry(shape_zyx, spacing_xyz_mm, origin_xyz_mm, direction, frame)


def volume(voxels_zyx: npt.NDArray[np.generic], geometry: Geometry, series: str = "s") -> Volume:
    """A volume as though loaded from `write_slices` of the same series."""
    refs = [InstanceRef(STUDY, uid(series), MR, uid(series, z)) for z in range(geometry.shape_zyx[0])]
    return Volume(voxels_zyx, geometry, uid(series), sources_z=tuple(SliceSource(r) for r in refs))


def base(sop_class: str, sop_uid: str, series: str, modality: str = "MR") -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = sop_uid
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop_uid
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY, uid(series), modality
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def position_of(geometry: Geometry, z: int) -> list[float]:
    return [float(v) for v in (geometry.affine @ np.array([0, 0, z, 1]))[:3]]


def orientation_of(geometry: Geometry) -> list[float]:
    matrix = np.asarray(geometry.direction).reshape(3, 3)
    return [float(v) for v in (*matrix[:, 0], *matrix[:, 1])]


def pixel_module(ds: Dataset, stored: npt.NDArray[np.generic], bits: int | None = None) -> None:
    """Stored values (rows, columns) or (frames, rows, columns) of any integer type."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated = stored.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        ds.NumberOfFrames = stored.shape[0]
    ds.PixelData = stored.tobytes()


def write_slices(
    folder: Path,
    stored: npt.NDArray[np.generic],
    geometry: Geometry,
    series: str = "s",
    numbers: Sequence[int] | None = None,
    rescale: Sequence[tuple[float, float]] | None = None,
    bits: int | None = None,
    **values: object,
) -> list[Path]:
    """One file per slice. `numbers`: Instance Numbers (which need not follow position)."""
    paths = []
    for z in range(stored.shape[0]):
        ds = base(MR, uid(series, z, *sorted(values.items())), series)
        ds.InstanceNumber = numbers[z] if numbers else z + 1
        ds.ImagePositionPatient = position_of(geometry, z)
        ds.ImageOrientationPatient = orientation_of(geometry)
        ds.PixelSpacing = [geometry.spacing_xyz_mm[1], geometry.spacing_xyz_mm[0]]
        ds.SliceThickness = geometry.spacing_xyz_mm[2]
        if geometry.frame_of_reference_uid:
            ds.FrameOfReferenceUID = geometry.frame_of_reference_uid
        if rescale:
            ds.RescaleSlope, ds.RescaleIntercept = rescale[z]
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        pixel_module(ds, stored[z], bits)
        paths.append(save(ds, folder / f"{ds.SOPInstanceUID}.dcm"))
    return paths


def write_enhanced(
    path: Path,
    stored: npt.NDArray[np.generic],
    geometry: Geometry,
    order: Sequence[int],
    rescale: Sequence[tuple[float, float]] | None = None,
    phases: Sequence[int] | None = None,
) -> Path:
    """One multi-frame file whose frame n is slice `order[n]` of `stored`; `phases` as temporal position per frame."""
    ds = base(ENHANCED_MR, uid(path.name), "enhanced")
    ds.FrameOfReferenceUID = geometry.frame_of_reference_uid
    ds.SharedFunctionalGroupsSequence = Items([item(**_shared_planes(geometry))])
    frames = []
    for n, z in enumerate(order):
        content = item(TemporalPositionIndex=phases[n]) if phases else item()
        group = item(
            FrameContentSequence=Items([content]),
            PlanePositionSequence=Items([item(ImagePositionPatient=position_of(geometry, z))]),
        )
        if rescale:
            slope, intercept = rescale[z]
            group.PixelValueTransformationSequence = Items([item(RescaleSlope=slope, RescaleIntercept=intercept)])
        frames.append(group)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    pixel_module(ds, np.ascontiguousarray(stored[list(order)]))
    return save(ds, path)


def _shared_planes(geometry: Geometry, spacing_between: bool = True) -> dict[str, Items]:
    x, y, z = geometry.spacing_xyz_mm
    measures = item(PixelSpacing=[y, x], SliceThickness=z)
    if spacing_between:
        measures.SpacingBetweenSlices = z
    return {
        "PlaneOrientationSequence": Items([item(ImageOrientationPatient=orientation_of(geometry))]),
        "PixelMeasuresSequence": Items([measures]),
    }


def segment_item(number: int, label: str, type_: tuple[str, str, str] = TISSUE, **values: object) -> Dataset:
    return item(
        SegmentNumber=number,
        SegmentLabel=label,
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=Items([code(*TISSUE)]),
        SegmentedPropertyTypeCodeSequence=Items([code(*type_)]),
        **values,
    )


def write_seg(
    path: Path,
    masks: Mapping[int, npt.NDArray[np.generic]],
    geometry: Geometry,
    segments: Sequence[Dataset] | None = None,
    kind: str = "BINARY",
    sources: Sequence[str] | None = None,
    all_frames: bool = False,
    frame: str | None = FRAME,
    spacing_between: bool = True,
    thickness_mm: float | None = None,
) -> Path:
    """A SEG: per segment its slices that are not empty, the highest first. FRACTIONAL: values 0..255.

    LABELMAP: one mask under key 0 holds the labels. `sources`: SOP Instance UIDs, one per slice.
    """
    ds = base(LABELMAP_SEG if kind == "LABELMAP" else SEG, uid(path.name, "seg"), path.name, "SEG")
    ds.SegmentationType = kind
    if frame:
        ds.FrameOfReferenceUID = frame
    ds.SegmentSequence = Items(list(segments or [segment_item(n, f"Segment_{n}") for n in masks]))
    shared = item(**_shared_planes(geometry, spacing_between))
    if thickness_mm:
        shared.PixelMeasuresSequence[0].SliceThickness = thickness_mm
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames, pixels = [], []
    for number, mask in masks.items():
        for z in reversed(range(mask.shape[0])):
            if not (all_frames or mask[z].any()):
                continue
            group = item(
                FrameContentSequence=Items([item(DimensionIndexValues=[number or 1, z + 1])]),
                PlanePositionSequence=Items([item(ImagePositionPatient=position_of(geometry, z))]),
            )
            if kind != "LABELMAP":
                group.SegmentIdentificationSequence = Items([item(ReferencedSegmentNumber=number)])
            if sources:
                image = item(ReferencedSOPClassUID=MR, ReferencedSOPInstanceUID=sources[z])
                group.DerivationImageSequence = Items([item(SourceImageSequence=Items([image]))])
            frames.append(group)
            pixels.append(mask[z])
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    if kind == "BINARY":
        pixel_module(ds, np.array(pixels, np.uint8))
        bits = np.packbits(np.array(pixels, bool).ravel(), bitorder="little").tobytes()
        ds.PixelData = bits + b"\0" * (len(bits) % 2)
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    else:
        pixel_module(ds, np.array(pixels, np.uint8))
        if ds.Rows * ds.Columns * len(frames) % 2:
            ds.PixelData += b"\0"
    if kind == "FRACTIONAL":
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = "PROBABILITY", 255
    return save(ds, path)


def write_structures(
    path: Path,
    contours: Mapping[int, Sequence[npt.NDArray[np.float64]]],
    names: Mapping[int, str],
    frame: str = FRAME,
    kind: str = "CLOSED_PLANAR",
) -> Path:
    """An RTSTRUCT: per ROI number its contours, n x 3 points in LPS mm."""
    ds = base(RTSTRUCT, uid(path.name, "rt"), path.name, "RTSTRUCT")
    ds.StructureSetROISequence = Items(
        [item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame) for n, name in names.items()]
    )
    ds.ROIContourSequence = Items(
        [
            item(
                ReferencedROINumber=n,
                ContourSequence=Items(
                    [
                        item(
                            ContourGeometricType=kind,
                            NumberOfContourPoints=len(points),
                            ContourData=[f"{v:.6f}"[:16] for v in points.ravel()],
                        )
                        for points in group
                    ]
                ),
            )
            for n, group in contours.items()
        ]
    )
    return save(ds, path)


def write_registration(
    path: Path, frames: Mapping[str, npt.NDArray[np.float64]], own: str, images: Sequence[str] = ()
) -> Path:
    """A Spatial Registration: per frame of reference the 4x4 from its points into those of `own`.

    `images`: SOP Instance UIDs to which the items are limited.
    """
    ds = base(REGISTRATION, uid(path.name, "reg"), path.name, "REG")
    ds.FrameOfReferenceUID = own
    ds.RegistrationSequence = Items(
        [
            item(
                FrameOfReferenceUID=frame,
                MatrixRegistrationSequence=Items(
                    [
                        item(
                            MatrixSequence=Items(
                                [
                                    item(
                                        FrameOfReferenceTransformationMatrixType="RIGID",
                                        FrameOfReferenceTransformationMatrix=[f"{v:.10f}"[:16] for v in matrix.ravel()],
                                    )
                                ]
                            )
                        )
                    ]
                ),
            )
            for frame, matrix in frames.items()
        ]
    )
    for each in ds.RegistrationSequence if images else ():
        each.ReferencedImageSequence = Items([item(ReferencedSOPInstanceUID=i) for i in images])
    return save(ds, path)


def facts(path: Path, sop_class: str = SEG) -> InstanceFacts:
    """The least that the ROI and alignment steps need of an instance."""
    ref = InstanceRef(STUDY, uid(path.name), sop_class, uid(path.name, "instance"))
    return InstanceFacts(ref, "SEG", str(ExplicitVRLittleEndian), "key", FRAME, path=path)
