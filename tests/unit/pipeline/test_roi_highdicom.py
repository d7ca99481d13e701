"""Segmentations written by highdicom, of every type and transfer syntax that it offers, come back as they went in."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from config.schema import RoiSettings
from pipeline.roi import read
from pipeline.volumes import load_frames
from tests.support.slices import facts, grid, write_slices

SHAPE = (6, 33, 35)


def sources(folder: Path) -> list[Path]:
    patient = {
        "PatientID": "1",
        "PatientName": "Phantom^A",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "Manufacturer": "x",
        "PositionReferenceIndicator": "",
    }
    return write_slices(folder, np.zeros(SHAPE, np.int16), grid(SHAPE), **patient)


def described(number: int, label: str, type_) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        number,
        label,
        codes.SCT.MorphologicallyAbnormalStructure,
        type_,
        hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=hd.UID(),
        tracking_id=label,
    )


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("FRACTIONAL", ExplicitVRLittleEndian),
        ("FRACTIONAL", RLELossless),
        ("FRACTIONAL", JPEGLSLossless),
        ("LABELMAP", ExplicitVRLittleEndian),
        ("LABELMAP", RLELossless),
    ],
)
def test_what_highdicom_writes_is_read_voxel_for_voxel(tmp_path: Path, kind: str, syntax: str) -> None:
    paths = sources(tmp_path / "i")
    t1c = load_frames([(p, None) for p in paths])
    masks = np.zeros((*SHAPE, 2), np.uint8)
    masks[1:4, 3:9, 2:7, 0] = np.random.default_rng(1).random((3, 6, 5)) > 0.3
    masks[3:6, 10:14, 9:16, 1] = 1
    pixels = masks.astype(np.float32) if kind == "FRACTIONAL" else masks
    seg = hd.seg.Segmentation(
        [dcmread(p) for p in paths],
        pixels,
        kind,
        [described(1, "first", codes.SCT.Neoplasm), described(2, "second", codes.SCT.LymphNode)],
        hd.UID(),
        1,
        hd.UID(),
        1,
        "x",
        "x",
        "1",
        "1",
        # GDCM's RLE encoder, which highdicom would take, aborts the process on frames of an odd number of pixels.
        transfer_syntax_uid=ExplicitVRLittleEndian if syntax == RLELossless else syntax,
    )
    if syntax == RLELossless:
        seg.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    seg.save_as(tmp_path / "seg.dcm")
    found = {r.role: r for r in read([facts(tmp_path / "seg.dcm")], t1c, RoiSettings())}
    for n, role in enumerate(("tumor", "lymph_nodes")):
        assert np.array_equal(found[role].mask.voxels_zyx, masks[..., n].astype(bool))
        assert found[role].segments[0].tracking_id == ("first", "second")[n]
        assert not found[role].segments[0].notes
