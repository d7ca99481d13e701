"""Study results of every kind, made by hand, with small DICOM sources that they refer to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage

from dicom_sr import ReportSource
from pipeline.geometry import Geometry
from pipeline.pictures import Panel, make_panels
from pipeline.records import InstanceRef, Mask, Role, Sequence, Side, SliceSource, Volume
from pipeline.result import (
    Contribution,
    NodeSummary,
    Part,
    Prediction,
    QualityCheck,
    RoiSummary,
    SegmentSummary,
    SequenceChoice,
    StudyResult,
)
from pipeline.roi.grid_regions import GridRegion, grid_regions

MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STUDY = "2.25.1001"
FRAME_OF_REFERENCE = "2.25.1002"
SERIES: dict[Sequence, str] = {"t1c": "2.25.1010", "t2": "2.25.1011", "adc": "2.25.1012"}
SLICES = 8
KINDS = (
    "high",
    "low",
    "indeterminate",
    "not_evaluated",
    "not_evaluated_without_rois",
    "multiomic",
    "prior",
    "revision_2",
    "bilateral",
    "chinese_name",
    "three_segments",
    "demonstration",
    "all_features",
    "rtstruct",
)

# Volume, long and short axis of the three nodes that are drawn.
NODE_SIZES = ((904.5, 12.5, 11.25), (268.1, 8.75, 7.5), (267.9, 8.5, 8.25))
_FEATURES = {
    "t1c.tumor.original_shape_Maximum3DDiameter": 24.6981781,
    "t1c.tumor.original_shape_MajorAxisLength": 21.3371,
    "t1c.tumor.original_shape_MinorAxisLength": 15.022,
    "t1c.tumor.original_shape_LeastAxisLength": 11.9,
    "t1c.lymph_nodes.original_shape_Maximum3DDiameter": 14.25,
    "t1c.lymph_nodes.original_shape_MajorAxisLength": 12.5,
    "t1c.lymph_nodes.original_shape_MinorAxisLength": 8.75,
    "t1c.lymph_nodes.original_shape_LeastAxisLength": 6.125,
    "t1c.tumor.wavelet-HLL_glcm_Idmn": 0.98123456789,
    "t2.tumor.original_firstorder_Variance": 15234.123456,
    "t2.lymph_nodes.wavelet-LLH_gldm_DependenceEntropy": 5.8712345,
    "adc.lymph_nodes.original_firstorder_Mean": 987.654321,
    "adc.lymph_nodes.wavelet-LLL_glrlm_RunVariance": 1.5e-7,
    "adc.tumor.original_glszm_ZoneEntropy": 4.4321,
    "t1c.lymph_nodes.original_ngtdm_Coarseness": 0.0123456789012345,
    "t2.tumor.wavelet-HHH_glcm_MCC": 0.71,
}
_WEIGHTS = (
    ("adc.lymph_nodes.original_firstorder_Mean", -0.41),
    ("t1c.tumor.wavelet-HLL_glcm_Idmn", 0.37),
    ("t2.lymph_nodes.wavelet-LLH_gldm_DependenceEntropy", 0.31),
    ("adc.lymph_nodes.wavelet-LLL_glrlm_RunVariance", 0.22),
    ("t2.tumor.original_firstorder_Variance", -0.18),
    ("adc.tumor.original_glszm_ZoneEntropy", 0.12),
    ("t1c.lymph_nodes.original_ngtdm_Coarseness", -0.09),
    ("t2.tumor.wavelet-HHH_glcm_MCC", 0.05),
)


@dataclass(frozen=True)
class Case:
    """One kind of result with its source, panels and all the data sets that it refers to."""

    kind: str
    result: StudyResult
    source: ReportSource
    panels: tuple[Panel, ...]
    datasets: tuple[Dataset, ...]


def case(kind: str) -> Case:
    """One of KINDS."""
    result = _result(kind)
    name = "Wang^XiaoDong=王^小东" if kind == "chinese_name" else "Doe^Jane"
    images = [image(s, k, name) for s in SERIES for k in range(SLICES)]
    roi_class = RTSTRUCT if kind == "rtstruct" else SEG
    segs = [segmentation(number, name, roi_class) for number in sorted(_seg_numbers(result))]
    old = [image("t1c", k, name, study="2.25.900", series="2.25.901") for k in range(2)] if kind == "prior" else []
    source = ReportSource.from_datasets(
        images[0],
        segs,
        began=BEGAN,
        predecessor=InstanceRef(STUDY, "2.25.1300", "1.2.840.10008.5.1.4.1.1.88.33", "2.25.1301")
        if kind == "revision_2"
        else None,
        prior=tuple(_ref(ds) for ds in old),
    )
    return Case(kind, result, source, panels_of(result), (*images, *segs, *old))


def prediction(probability: float, **changes: object) -> Prediction:
    """A plausible answer; the category follows from the cutoff unless it is given."""
    values: dict[str, object] = {
        "signature": "aln-demo@1.2.0",
        "positive_class": "ALN metastasis",
        "probability": probability,
        "cutoff": 0.4812,
        "category": "high" if probability >= 0.4812 else "low",
        "in_training_range": True,
        "top_features": tuple(Contribution(name=n, contribution=c, value=_FEATURES[n]) for n, c in _WEIGHTS),
    }
    return Prediction.model_validate(values | changes)


def image(sequence: Sequence, k: int, name: str = "Doe^Jane", study: str = STUDY, series: str | None = None) -> Dataset:
    """The header of one slice of a small MR series."""
    ds = _patient(name)
    series = series or SERIES[sequence]
    ds.SOPClassUID, ds.SOPInstanceUID = MR, f"{series}.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 3, k + 1
    ds.FrameOfReferenceUID = FRAME_OF_REFERENCE
    ds.ImagePositionPatient = [-80.0, -60.0, 3.0 * k]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 3.0
    return _with_meta(ds)


def segmentation(number: int, name: str = "Doe^Jane", sop_class: str = SEG) -> Dataset:
    """The header of a SEG that says on which series it was drawn, or of an RTSTRUCT."""
    ds = _patient(name)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"2.25.1200.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"2.25.120{number}"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = ("SEG" if sop_class == SEG else "RTSTRUCT"), 50 + number, 1
    item = Dataset()
    item.SeriesInstanceUID = SERIES["t1c"]
    ds.ReferencedSeriesSequence = [item]
    return _with_meta(ds)


def write(folder: Path, datasets: tuple[Dataset, ...]) -> list[Path]:
    """The headers as files."""
    paths = []
    for i, ds in enumerate(datasets):
        path = folder / f"source_{i:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def panels_of(result: StudyResult, seed: int = 1) -> tuple[Panel, ...]:
    """Pictures of ellipsoids in noise on three grids: the tumor in the breast, nodes towards the armpit."""
    return make_panels(*_grids_of(result, seed))


def regions_of(result: StudyResult, seed: int = 1) -> tuple[GridRegion, ...]:
    """The ellipsoids themselves."""
    return grid_regions(*_grids_of(result, seed))


def _grids_of(
    result: StudyResult, seed: int
) -> tuple[dict[Sequence, Volume], dict[tuple[Sequence, Role, Side | None], Mask]]:
    rng = np.random.default_rng(seed)
    sides: tuple[Side | None, ...] = tuple(side for side, part in result.parts() if part.rois)
    volumes: dict[Sequence, Volume] = {}
    masks: dict[tuple[Sequence, Role, Side | None], Mask] = {}
    for sequence, spacing in (("t1c", 1.0), ("t2", 0.8), ("adc", 2.0)):
        volume = _volume(sequence, spacing, rng)
        for side in sides:
            sign = 1 if side in ("L", None) else -1
            masks[sequence, "tumor", side] = _ellipsoids(volume.geometry, [(sign * 30, -20, 12, 11)])
            nodes = [(sign * 55, 25, 12, 6), (sign * 63, 36, 12, 4), (sign * 48, 40, 15, 4)]
            masks[sequence, "lymph_nodes", side] = _numbered(_ellipsoids(volume.geometry, nodes))
            for role in ("tumor", "lymph_nodes"):
                inside = masks[sequence, role, side].voxels_zyx
                gain = {"t1c": 420, "t2": 180, "adc": -700}[sequence]
                volume.voxels_zyx[inside] += np.float32(gain)
        volumes[sequence] = volume
    return volumes, masks


def _numbered(mask: Mask) -> Mask:
    return replace(mask, numbers_zyx=ndimage.label(mask.voxels_zyx[mask.box_zyx])[0].astype(np.uint16))


def _result(kind: str) -> StudyResult:
    values: dict[str, object] = {
        "study_uid": STUDY,
        "laterality": "L",
        "status": "evaluated",
        "sequences": {s: _choice(s) for s in SERIES},
        "rois": _rois(None, 3 if kind == "three_segments" else 1),
        "prediction": prediction(0.73214567),
        "features": _FEATURES,
        "quality": (QualityCheck(check="grey_levels t1c.tumor", value=42, limit=8, ok=True),),
        "signature": {"name": "aln-demo", "version": "1.2.0", "hash": "c0ffee" * 10},
        "settings_hash": "5e77",
        "input_digest": f"digest of {kind}",
        "software": {"axrad": "0.1.0", "pyradiomics": "3.0.1", "SimpleITK": "2.5.2"},
    }
    return StudyResult.model_validate(values | _changes(kind))


def _changes(kind: str) -> dict[str, object]:
    none: dict[str, object] = {"status": "not_evaluated", "prediction": None}
    failed = QualityCheck(
        check="kept_volume adc.lymph_nodes", value=0.412345, limit=0.5, ok=False, note="partly outside"
    )
    changes: dict[str, dict[str, object]] = {
        "low": {"prediction": prediction(0.1234, notes=("One note of the signature",))},
        "indeterminate": {
            "prediction": prediction(
                0.50,
                category="indeterminate",
                conformal_set=("ALN metastasis", "no ALN metastasis"),
                conformal_alpha=0.1,
                conformal_band=(0.41, 0.58),
            ),
            "quality": (failed,),
        },
        "not_evaluated": {
            **none,
            "reasons": ("34 of 180 features lie outside the range that the signature was trained on",),
            "reason_codes": ("outside-training",),
            "quality": (failed,),
        },
        "not_evaluated_without_rois": {
            **none,
            "reasons": ("no series was recognised as T2: candidates were 'AX T2 ≥ 4 mm' and 'Localizer'",),
            "rois": {},
            "sequences": {},
            "features": {},
            "evidence": (_image_ref("t1c", 0),),
            "laterality": None,
        },
        "multiomic": {
            "prediction": prediction(
                0.61,
                clinical_used=("age_years", "ki67_percent"),
                top_features=(
                    Contribution(name="ki67_percent", contribution=0.5, value=30.0),
                    Contribution(name="t1c.tumor.wavelet-HLL_glcm_Idmn", contribution=-0.2, value=0.98),
                ),
            )
        },
        "revision_2": {"revision": 2},
        "rtstruct": {"rois": _rois(None, 1, RTSTRUCT)},
        "demonstration": {"demonstration": True},
        "bilateral": {
            "laterality": "B",
            "rois": {},
            "prediction": None,
            "features": {},
            "sides": {
                "L": Part(rois=_rois("L"), prediction=prediction(0.73214567), features=_FEATURES),
                "R": Part(rois=_rois("R"), prediction=prediction(0.05), features=_FEATURES),
            },
        },
    }
    return changes.get(kind, {})


def _choice(sequence: Sequence) -> SequenceChoice:
    names = {"t1c": "t1_fl3d_tra_dyn_fs", "t2": "t2_tse_tra_fs", "adc": "ep2d_diff_b50_800_ADC"}
    return SequenceChoice(
        series_uid=SERIES[sequence],
        why="made so",
        description=names[sequence],
        phase="first_post" if sequence == "t1c" else None,
        instances=tuple(_image_ref(sequence, k) for k in range(SLICES)),
    )


def _rois(side: Side | None, node_segments: int = 1, sop_class: str = SEG) -> dict[Role, RoiSummary]:
    seg = 2 if side == "R" else 1
    source = InstanceRef(STUDY, f"2.25.120{seg}", sop_class, f"2.25.1200.{seg}")
    nodes = tuple(
        SegmentSummary(
            source=source, number=2 + i, label=f"Node {i + 1}", tracking_id=f"N{i + 1}", tracking_uid=f"2.25.77.{i}"
        )
        for i in range(node_segments)
    )
    tumor = SegmentSummary(source=source, number=1, label="Tumor", tracking_id="T1", tracking_uid=f"2.25.66.{seg}")
    return {
        "tumor": RoiSummary(
            source_uid=source.sop_instance_uid,
            segments=(1,),
            voxels={"t1c": 5575, "t2": 8710, "adc": 697},
            volume_mm3=5575.28,
            segment_details=(tumor,),
        ),
        "lymph_nodes": RoiSummary(
            source_uid=source.sop_instance_uid,
            segments=tuple(n.number for n in nodes),
            voxels={"t1c": 904, "t2": 1400, "adc": 113},
            volume_mm3=904.7786842,
            count=3,
            nodes=tuple(
                NodeSummary(
                    number=i + 1,
                    segment=nodes[min(i, len(nodes) - 1)].number,
                    source_uid=source.sop_instance_uid,
                    volume_mm3=volume,
                    long_axis_mm=long,
                    short_axis_mm=short,
                )
                for i, (volume, long, short) in enumerate(NODE_SIZES)
            ),
            segment_details=nodes,
        ),
    }


def _seg_numbers(result: StudyResult) -> set[int]:
    return {int(roi.source_uid.rsplit(".", 1)[1]) for _, part in result.parts() for roi in part.rois.values()}


def _image_ref(sequence: Sequence, k: int) -> InstanceRef:
    return InstanceRef(STUDY, SERIES[sequence], MR, f"{SERIES[sequence]}.{k + 1}")


def _ref(ds: Dataset) -> InstanceRef:
    return InstanceRef(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPClassUID, ds.SOPInstanceUID)


def _patient(name: str) -> Dataset:
    ds = Dataset()
    if not name.isascii():
        ds.SpecificCharacterSet = "GB18030"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, "P-001", "19700102", "F"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260303", "101112", "S1", "ACC42"
    ds.ReferringPhysicianName = None
    ds.StudyDescription = "MR breast"
    return ds


def _with_meta(ds: Dataset) -> Dataset:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _volume(sequence: Sequence, spacing: float, rng: np.random.Generator) -> Volume:
    rows, columns = round(120 / spacing), round(160 / spacing)
    geometry = Geometry(
        (SLICES, rows, columns),
        (spacing, spacing, 3.0),
        (-80.0, -60.0, 0.0),
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        FRAME_OF_REFERENCE,
    )
    base = {"t1c": 260, "t2": 420, "adc": 1700}[sequence]
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, geometry.shape_zyx), (1, 8 / spacing, 8 / spacing))
    smooth /= smooth.std()
    voxels = base * (1 + 0.15 * smooth) + rng.normal(0, 0.05 * base, geometry.shape_zyx)
    sources = tuple(SliceSource(_image_ref(sequence, k)) for k in range(SLICES))
    return Volume(voxels.astype(np.float32), geometry, SERIES[sequence], sources_z=sources)


def _ellipsoids(geometry: Geometry, places: list[tuple[float, float, float, float]]) -> Mask:
    z, y, x = np.indices(geometry.shape_zyx)
    points = geometry.affine @ np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)])
    inside = np.zeros(x.size, dtype=bool)
    for px, py, pz, radius in places:
        inside |= np.sum(((points[:3].T - (px, py, pz)) / (radius, radius * 0.8, radius)) ** 2, axis=1) <= 1
    return Mask(inside.reshape(geometry.shape_zyx), geometry)
