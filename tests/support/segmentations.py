"""A small BINARY segmentation as a reader's workstation would write it, as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def written_seg(path: Path) -> Path:
    """Two slices with a square of a tumour in each; 4 rows of 4."""
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "2.25.1", "2.25.2", "2.25.3"
    ds.SOPClassUID, ds.Modality, ds.PatientID = SEG, "SEG", "P-001"
    ds.Manufacturer, ds.SegmentationType, ds.FrameOfReferenceUID = "Workstation", "BINARY", "2.25.4"
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Tumor", "MANUAL"
    ds.SegmentSequence = [segment]
    ds.PerFrameFunctionalGroupsSequence = [_frame(z) for z in range(2)]
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    ds.Rows = ds.Columns = 4
    ds.NumberOfFrames = 2
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    drawn = np.zeros((2, 4, 4), np.uint8)
    drawn[0, 1:3, 1:3] = drawn[1, :2, :2] = 1
    ds.PixelData = np.packbits(drawn.ravel(), bitorder="little").tobytes()
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = SEG, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


def _frame(z: int) -> Dataset:
    position, segment, groups = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, 3 * z]
    segment.ReferencedSegmentNumber = 1
    groups.PlanePositionSequence, groups.SegmentIdentificationSequence = [position], [segment]
    return groups
