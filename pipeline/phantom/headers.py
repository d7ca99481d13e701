"""DICOM headers of a phantom exam: MR Image Storage (PS3.3 A.4), every Type 1 and 2 attribute filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from pipeline.geometry import Geometry
from pipeline.phantom.spec import PhantomSpec
from pipeline.phantom.vendors import STYLES, VendorStyle

IMPLEMENTATION_UID = UID("2.25.186452093215648701375460984617203948517")
_SCAN = {
    "localizer": ("GR", "SP", "2D", 8.0, 3.7, 1),
    "t2": ("SE", "SK", "2D", 4500.0, 85.0, 15),
    "dce": ("GR", "SP", "3D", 4.6, 1.7, 1),
    "subtraction": ("GR", "SP", "3D", 4.6, 1.7, 1),
    "mip": ("GR", "SP", "3D", 4.6, 1.7, 1),
    "dwi": ("EP", "SK", "2D", 7800.0, 66.0, 80),
    "adc": ("EP", "SK", "2D", 7800.0, 66.0, 80),
}  # scanning sequence, variant, acquisition type, TR ms, TE ms, echo train length


def clock(seconds: float) -> str:
    """Seconds after 09:00:00 as a DICOM time."""
    whole = 9 * 3600 + int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}"


def patient_and_study(spec: PhantomSpec) -> Dataset:
    """Attributes that all objects of the exam share. Names and numbers say that nobody is meant."""
    number = spec.patient_number
    age = 35 + (number * 7) % 40
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = f"Phantom^Synthetic {number:04d}"
    ds.PatientID = f"PHANTOM-{number:06d}"
    ds.IssuerOfPatientID = "AXRAD-PHANTOM"
    ds.PatientBirthDate = f"{int(spec.study_date[:4]) - age}0101"
    ds.PatientSex = "F"
    ds.PatientAge = f"{age:03d}Y"
    ds.PatientSize = "1.65"
    ds.PatientWeight = "65"
    ds.StudyInstanceUID = spec.uid("study")
    ds.StudyID = f"{spec.seed % 10**8:d}"
    ds.StudyDate = spec.study_date
    ds.StudyTime = clock(0)
    ds.AccessionNumber = f"PH{spec.seed % 10**10:d}"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "MR BREAST BILATERAL W/WO CONTRAST (SYNTHETIC)"
    return ds


def series_header(
    spec: PhantomSpec, kind: str, series_uid: str, number: int, description: str, geometry: Geometry, start_s: float
) -> Dataset:
    """All that the images of one series have in common."""
    style = STYLES[spec.vendor]
    ds = patient_and_study(spec)
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.SeriesInstanceUID = series_uid
    ds.SeriesNumber = number
    ds.SeriesDescription = description
    ds.ProtocolName = description.split("/")[-1][:64]
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = spec.study_date
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = ds.InstanceCreationTime = clock(start_s)
    ds.BodyPartExamined = "BREAST"
    ds.Laterality = ""  # both breasts
    ds.PatientPosition = "FFP"
    ds.FrameOfReferenceUID = geometry.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.ImageType = list(style.image_types[kind])
    ds.ImageComments = "SYNTHETIC PHANTOM - NOT A PATIENT"
    _equipment(ds, style)
    _scan(ds, kind, style)
    _plane(ds, geometry)
    _pixels(ds, style, geometry)
    return ds


def _equipment(ds: Dataset, style: VendorStyle) -> None:
    ds.Manufacturer = style.manufacturer
    ds.ManufacturerModelName = style.model
    ds.SoftwareVersions = style.software
    ds.DeviceSerialNumber = "00000"
    ds.InstitutionName = "axrad phantom"
    ds.StationName = "PHANTOM"
    ds.MagneticFieldStrength = style.field_t
    ds.ImagingFrequency = round(42.577 * style.field_t, 4)
    ds.ImagedNucleus = "1H"


def _scan(ds: Dataset, kind: str, style: VendorStyle) -> None:
    sequence, variant, dimensions, repetition, echo, train = _SCAN[kind]
    ds.ScanningSequence = sequence
    ds.SequenceVariant = variant
    ds.ScanOptions = "" if kind == "localizer" else "FS"
    ds.MRAcquisitionType = dimensions
    ds.RepetitionTime = repetition
    ds.EchoTime = echo
    ds.EchoTrainLength = train
    ds.FlipAngle = "10" if sequence == "GR" else "90"
    ds.NumberOfAverages = "1"
    ds.EchoNumbers = "1"
    ds.PixelBandwidth = "400"
    ds.ReceiveCoilName = f"Breast {'16' if style.field_t > 2 else '8'}ch"
    ds.AcquisitionNumber = 1


def _plane(ds: Dataset, geometry: Geometry) -> None:
    x, y, z = geometry.spacing_xyz_mm
    ds.PixelSpacing = [round(y, 8), round(x, 8)]
    ds.SliceThickness = ds.SpacingBetweenSlices = round(z, 8)
    columns = np.asarray(geometry.direction).reshape(3, 3).T
    ds.ImageOrientationPatient = [round(float(v), 10) for v in (*columns[0], *columns[1])]
    ds.Rows, ds.Columns = geometry.shape_zyx[1:]


def _pixels(ds: Dataset, style: VendorStyle, geometry: Geometry) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 16
    ds.BitsStored = style.bits_stored
    ds.HighBit = style.bits_stored - 1
    ds.PixelRepresentation = int(style.signed)
    ds.LossyImageCompression = "00"
    if style.rescale_slope is not None:
        ds.RescaleIntercept = 0
        ds.RescaleSlope = style.rescale_slope
        ds.RescaleType = "normalized"


def put_image(
    ds: Dataset, plane_yx: npt.NDArray[np.floating | np.integer], sop_uid: str, number: int, geometry: Geometry, z: int
) -> None:
    """One slice into `ds`: identity, place and pixels. `plane_yx`: real values; stored after the inverse rescale."""
    ds.SOPInstanceUID = sop_uid
    ds.InstanceNumber = number
    position = geometry.affine @ np.array([0, 0, z, 1.0])
    ds.ImagePositionPatient = [round(float(v), 6) for v in position[:3]]
    normal = np.asarray(geometry.direction).reshape(3, 3)[:, 2]
    ds.SliceLocation = round(float(normal @ position[:3]), 4)
    slope = float(getattr(ds, "RescaleSlope", 1.0))
    limits = (
        (-(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1)
        if ds.PixelRepresentation
        else (0, 2**ds.BitsStored - 1)
    )
    stored = np.clip(np.rint(plane_yx / slope), *limits).astype("<i2" if ds.PixelRepresentation else "<u2")
    centre = float(np.percentile(stored[::4, ::4], 98)) * slope / 2
    ds.WindowCenter = round(max(centre, 1.0), 1)
    ds.WindowWidth = round(max(2 * centre, 2.0), 1)
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"


def save(ds: Dataset, path: Path) -> None:
    """Write as a DICOM file, explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "AXRAD_PHANTOM"
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)
