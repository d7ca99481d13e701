"""A reader's measurements of a phantom's lesions, as OHIF saves them: a TID 1500 report written by dcmjs.

Each drawn tool is a measurement group of its own, as dcmjs and the adapters of Cornerstone3D in OHIF 3.13 write it. Its
label is a comment; earlier versions, and other tools, have it as free text in the place of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from pipeline.geometry import Geometry
from pipeline.phantom import anatomy as body
from pipeline.phantom.headers import clock, patient_and_study, save
from pipeline.phantom.signal import Scene
from pipeline.phantom.spec import PhantomExam, PhantomSpec

Tool = Literal[
    "Bidirectional", "Length", "EllipticalROI", "CircleROI", "RectangleROI", "PlanarFreehandROI", "ArrowAnnotate"
]
LabelPlace = Literal["finding_site", "finding", "comment"]
Pixels = Sequence[tuple[float, float]]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FREE_TEXT = ("CS3DTEXT", "99dcmjs")
_AXES = (("103339001", "SCT", "Long Axis"), ("103340004", "SCT", "Short Axis"))
_VALUES: dict[Tool, tuple[str, str, str]] = {
    "Length": ("410668003", "SCT", "Length"),
    "EllipticalROI": ("42798000", "SCT", "Area"),
    "CircleROI": ("131191004", "SCT", "Perimeter"),
    "RectangleROI": ("131191004", "SCT", "Perimeter"),
    "PlanarFreehandROI": ("131191004", "SCT", "Perimeter"),
    "ArrowAnnotate": ("111010", "DCM", "Center"),
}
_GRAPHICS: dict[Tool, str] = {"EllipticalROI": "ELLIPSE", "CircleROI": "CIRCLE", "ArrowAnnotate": "POINT"}


class DrawnTool(NamedTuple):
    """One tool as drawn. `points`: (column, row) from the outer corner of the first pixel; of Bidirectional the ends
    of the long axis, then those of the short one. `image`: header of the image. `values`: what the tool shows.
    """

    tool: Tool
    label: str
    image: Dataset
    points: Pixels
    values: tuple[float, ...] = ()


def write_measurements(exam: PhantomExam, jitter_mm: float = 0.0) -> Path:
    """Long and short axis of every lesion of an exam, drawn on T1+C, in one report beside its images.

    `jitter_mm`: how far, at most, each end is drawn off its place within the slice.
    """
    spec = exam.spec
    by_uid = {u: p for s in exam.series for u, p in zip(s.sop_instance_uids, s.paths, strict=True)}
    side = "left" if exam.truth.laterality == "L" else "right"
    drawn = []
    for n, mask in enumerate(lesion_masks(spec)):
        z, ends = axis_ends(mask, exam.geometry)
        ends = ends + _jitter(spec, n, jitter_mm) / np.array(exam.geometry.spacing_xyz_mm[:2])
        label = f"Lymph node {n}, {side}" if n else f"Tumor, {side}"
        image = dcmread(by_uid[exam.t1c_instances[z]], stop_before_pixels=True)
        lengths = np.linalg.norm((ends[::2] - ends[1::2]) * exam.geometry.spacing_xyz_mm[:2], axis=1)
        points = [(float(c), float(r)) for c, r in ends]
        drawn.append(DrawnTool("Bidirectional", label, image, points, tuple(map(float, lengths))))
    report = ohif_report(spec, drawn, time=clock(4 * 3600))
    path = exam.folder / "0950_measurements.dcm"
    save(report, path)
    return path


def lesion_masks(spec: PhantomSpec) -> list[Bools]:
    """The tumour and each lymph node on the grid of T1+C: (z, y, x)."""
    drawn = spec.drawn()
    anatomy = body.make(spec, drawn)
    scene = Scene.on(anatomy, drawn, body.grid(spec, drawn, spec.grids.t1_matrix, drawn.t1_spacing_mm))
    return [scene.lesion_mask(lesion) for lesion in anatomy.lesions]


def axis_ends(mask_zyx: Bools, grid: Geometry) -> tuple[int, Floats]:
    """The slice in which a lesion covers most, and there the ends (4 x 2: column, row) of its long and short axis.

    The long axis joins the two voxels farthest apart, the short one is the longest chord across it; both from the outer
    edges of voxels, as readers draw them.
    """
    z = int(np.argmax(mask_zyx.sum(axis=(1, 2))))
    rows, columns = np.nonzero(mask_zyx[z])
    spacing = np.array(grid.spacing_xyz_mm[:2])
    centres = np.stack([columns, rows], axis=1) * spacing
    apart = centres[:, None] - centres[None]
    one, other = np.unravel_index(int((apart**2).sum(axis=2).argmax()), apart.shape[:2])
    along = apart[one, other] / max(float(np.linalg.norm(apart[one, other])), 1e-9)
    along = along if along.any() else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    edge = float(spacing.min()) / 2
    chords = []
    for place in np.unique(np.round(centres @ along / edge) * edge):
        near = centres[np.abs(centres @ along - place) <= spacing.max() / 2]
        reach = near @ across
        chords.append((np.ptp(reach), place, reach.min() - edge, reach.max() + edge))
    # Of chords about equally long the one nearest to the middle of the long axis, where a reader draws it.
    longest = max(chord[0] for chord in chords)
    centre = float((centres[one] + centres[other]) @ along) / 2
    _, place, low, high = min((c for c in chords if c[0] >= 0.95 * longest), key=lambda c: abs(c[1] - centre))
    middle = along * place
    ends = np.stack(
        [centres[one] + along * edge, centres[other] - along * edge, middle + across * low, middle + across * high]
    )
    return z, ends / spacing + 0.5


def _jitter(spec: PhantomSpec, number: int, jitter_mm: float) -> Floats:
    """Four shifts in mm, evenly over the disk."""
    rng = spec.rng(f"jitter {number}")
    radius, angle = jitter_mm * np.sqrt(rng.uniform(size=4)), rng.uniform(0, 2 * np.pi, 4)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def ohif_report(
    spec: PhantomSpec,
    drawn: Sequence[DrawnTool],
    *,
    label_in: LabelPlace = "comment",
    reader: str = "unknown^unknown",
    save_number: int = 1,
    time: str = "130000",
) -> Dataset:
    """The report of one save. Every save has UIDs of its own, also for measurements that it saves again."""
    ds = patient_and_study(spec)
    ds.SOPClassUID = ComprehensiveSRStorage
    ds.SOPInstanceUID = spec.uid("measurements", save_number)
    ds.SeriesInstanceUID = spec.uid("measurements series", save_number)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SR", 950 + save_number, 1
    ds.Manufacturer, ds.SeriesDescription = "Unspecified", "Measurement Report"
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = spec.study_date
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = time
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ReferencedPerformedProcedureStepSequence, ds.PerformedProcedureCodeSequence = [], []
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    ds.ContentTemplateSequence = [template]
    images = list({d.image.SOPInstanceUID: d.image for d in drawn}.values())
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(i) for i in images]
    observer = _item("HAS OBS CONTEXT", "PNAME", ("121008", "DCM", "Person Observer Name"))
    observer.PersonName = reader
    library = _container(("126200", "DCM", "Image Library Group"), [_image(i, "CONTAINS") for i in images])
    groups = [_group(spec, d, n, save_number, label_in) for n, d in enumerate(drawn, 1)]
    ds.ContentSequence = [
        observer,
        _container(("111028", "DCM", "Image Library"), [library]),
        _container(("126010", "DCM", "Imaging Measurements"), groups),
    ]
    return ds


def _group(spec: PhantomSpec, drawn: DrawnTool, number: int, save_number: int, label_in: LabelPlace) -> Dataset:
    tracking = _item("HAS OBS CONTEXT", "TEXT", ("112039", "DCM", "Tracking Identifier"))
    tracking.TextValue = f"Cornerstone3DTools@^0.1.0:{drawn.tool}"
    unique = _item("HAS OBS CONTEXT", "UIDREF", ("112040", "DCM", "Tracking Unique Identifier"))
    unique.UID = spec.uid("measurement", save_number, number)
    items = [tracking, unique]
    if drawn.label and label_in == "comment":
        comment = _item("CONTAINS", "TEXT", ("121106", "DCM", "Comment"))
        comment.TextValue = drawn.label
        items.append(comment)
    elif drawn.label:
        name = ("121071", "DCM", "Finding") if label_in == "finding" else ("363698007", "SCT", "Finding Site")
        label = _item("CONTAINS", "CODE", name)
        label.ConceptCodeSequence = [_code(*FREE_TEXT, drawn.label)]
        items.append(label)
    return _container(("125007", "DCM", "Measurement Group"), [*items, *_values(drawn)])


def _values(drawn: DrawnTool) -> list[Dataset]:
    values = [*drawn.values, None, None]
    if drawn.tool == "Bidirectional":
        pairs = (drawn.points[:2], drawn.points[2:])
        return [
            _value(name, value, "mm", "POLYLINE", points, drawn.image)
            for name, value, points in zip(_AXES, values, pairs, strict=False)
        ]
    name = _VALUES[drawn.tool]
    unit = "mm2" if name[2] == "Area" else "mm"
    return [_value(name, values[0], unit, _GRAPHICS.get(drawn.tool, "POLYLINE"), drawn.points, drawn.image)]


def _value(
    name: tuple[str, str, str], value: float | None, unit: str, graphic: str, points: Pixels, image: Dataset
) -> Dataset:
    item = _item("CONTAINS", "NUM", name)
    item.MeasuredValueSequence = []
    if value is not None:
        measured = Dataset()
        measured.NumericValue = f"{value:.10g}"
        measured.MeasurementUnitsCodeSequence = [_code(unit, "UCUM", "millimeter" if unit == "mm" else unit)]
        item.MeasuredValueSequence = [measured]
    coordinates = _item("INFERRED FROM", "SCOORD")
    coordinates.GraphicType = graphic
    coordinates.GraphicData = [float(v) for point in points for v in point]
    coordinates.ContentSequence = [_image(image, "SELECTED FROM")]
    item.ContentSequence = [coordinates]
    return item


def _evidence(image: Dataset) -> Dataset:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedSOPSequence = _image(image, "").ReferencedSOPSequence
    study.StudyInstanceUID = image.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study


def _image(image: Dataset, relationship: str) -> Dataset:
    item = _item(relationship, "IMAGE")
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    item.ReferencedSOPSequence = [reference]
    return item


def _container(name: tuple[str, str, str], content: Sequence[Dataset]) -> Dataset:
    item = _item("CONTAINS", "CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    item.ContentSequence = list(content)
    return item


def _item(relationship: str, value_type: str, name: tuple[str, str, str] | None = None) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    if name is not None:
        item.ConceptNameCodeSequence = [_code(*name)]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
