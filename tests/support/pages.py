"""Results with the longest texts there are, exams with many nodes, and where the texts of a sheet stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pydicom.config
from matplotlib.text import Text
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName
from scipy import ndimage

from dicom_sr import ReportSource
from dicom_sr.page.sheet import Sheet
from pipeline.geometry import Geometry
from pipeline.pictures import Panel, make_panels
from pipeline.records import Mask, Role, Sequence, Side, Volume
from pipeline.result import NodeSummary, Part, QualityCheck, RoiSummary, StudyResult
from tests.support.reports import case, prediction

LONG_REASONS = (
    "no series was recognised as T2: candidates were 'AX T2 TSE FS 4mm BILATERAL_ND' and 'Localizer 3-plane quick'",
    "34 of 180 features lie outside the range that the signature was trained on, among them Coarseness and Contrast",
    "t1c.lymph_nodes.wavelet-LLL_glcm_MaximalCorrelationCoefficient is missing: Not defined for this region: "
    "PyRadiomics gives nan.",
    "the segmentation 2.25.319190230391834917103437161036316098143 lies more than half a slice from its images "
    "in 12 of 30 frames",
)
LONG_NOTE = (
    "The signature with clinical variables was not asked because oestrogen receptor status, progesterone receptor "
    "status, HER2 status, Ki-67 and clinical T stage are not known in any of the sources that are configured"
)
NAMES = {
    "short": "Doe^Jane",
    "long": "Wolfeschlegelsteinhausenbergerdorff-Mendes^Adelaide Bernadette Constanze Dorothea Emanuela^^Prof. Dr.",
    "no_font": "Wang^XiaoDong=王^小\U0001f9ec\U0002a6d6东東\U0001f9eb\U0001f9ea" + "小" * 40,
}
INSTITUTIONS = {
    "none": "",
    "long": "Universitätsklinikum für Brustgesundheit Nord, Abt. für Radiologie"[:64],
}
IDENTITIES = {"short": ("P-001", "ACC42"), "long": ("HOSP-" + "0123456789" * 8, "ACCESSION-2026-11-27-000001")}
BODIES = ("high", "low", "indeterminate", "not_evaluated")
SIDES = ("one", "both", "indeterminate and not evaluated")


def longest(body: str, sides: str, *, banner: bool, reasons: tuple[str, ...]) -> StudyResult:
    """A result of this kind in which everything that has a length is long."""
    part = _part(body, reasons)
    failed = tuple(
        QualityCheck(check=f"kept_volume {s}.lymph_nodes", value=0.4123456, limit=0.5, ok=False, note=LONG_REASONS[3])
        for s in ("t1c", "t2", "adc", "t2 again", "adc again")
    )
    base = case("high").result
    changes: dict[str, object] = {
        "demonstration": banner,
        "revision": 123,
        "quality": failed if reasons else base.quality,
        "reasons": reasons if body == "not_evaluated" else (),
        "status": "not_evaluated" if body == "not_evaluated" else "evaluated",
        "signature": {"name": "signature-" * 12, "version": "1.2.0", "hash": "c0ffee" * 10},
        "sequences": {
            s: c.model_copy(update={"description": "t1_fl3d_tra_dynaVIEWS_spair_1+5_SUB_ND MPR 1.0 x 1.0 x 1.0 " * 2})
            for s, c in base.sequences.items()
        },
    }
    if sides == "one":
        changes |= {"rois": part.rois, "prediction": part.prediction, "features": part.features}
    else:
        others = {"both": body, SIDES[2]: "not_evaluated"}[sides]
        first = part if sides == "both" else _part("indeterminate", reasons)
        nothing: dict[str, object] = {"rois": {}, "prediction": None, "features": {}}
        changes |= {**nothing, "laterality": "B", "sides": {"L": first, "R": _part(others, reasons)}}
    return base.model_copy(update=changes)


def _part(body: str, reasons: tuple[str, ...]) -> Part:
    base = case("high").result
    answer = prediction(
        0.999995 if body == "high" else 0.00000312 if body == "low" else 0.48119999,
        category=body if body != "not_evaluated" else "low",
        cutoff=0.4812,
        signature="signature-" * 12 + "@1.2.0",
        conformal_band=(0.1, 0.9) if body == "indeterminate" else None,
        conformal_alpha=0.1,
        in_training_range=not reasons,
        fallback=LONG_NOTE if reasons else "",
        others=843,
        others_contribution=0.2,
    )
    evaluated = body != "not_evaluated"
    return Part(
        rois=many_nodes(25),
        prediction=answer if evaluated else None,
        features=base.features,
        reasons=() if evaluated else reasons,
    )


def many_nodes(count: int) -> dict[Role, RoiSummary]:
    """The regions of `case("high")` with so many lymph nodes."""
    rois = dict(case("high").result.rois)
    nodes = tuple(
        NodeSummary(
            number=n,
            segment=n + 1,
            volume_mm3=200.0 + n,
            long_axis_mm=10.0 + n / 3,
            short_axis_mm=5.0 + n / 4,
        )
        for n in range(1, count + 1)
    )
    return rois | {"lymph_nodes": rois["lymph_nodes"].model_copy(update={"count": count, "nodes": nodes})}


def panels_of_nodes(count: int, sides: tuple[Side | None, ...] = ("L",)) -> tuple[Panel, ...]:
    """Pictures of a tumor and of `count` small nodes that crowd an armpit, most of them in one slice."""
    rng = np.random.default_rng(5)
    volumes: dict[Sequence, Volume] = {}
    masks: dict[tuple[Sequence, Role, Side | None], Mask] = {}
    for sequence in ("t1c", "t2", "adc"):
        geometry = Geometry((6, 160, 200), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        noise = ndimage.gaussian_filter(rng.normal(0, 1, geometry.shape_zyx), (1, 5, 5)) * 400 + 600
        volumes[sequence] = Volume(noise.astype(np.float32), geometry, "2.25.1")
        for side in sides:
            tumor = np.zeros(geometry.shape_zyx, dtype=bool)
            tumor[2:4, 20:40, 30:50] = True
            masks[sequence, "tumor", side] = Mask(tumor, geometry)
            masks[sequence, "lymph_nodes", side] = _crowd(geometry, count)
    return make_panels(volumes, masks)


def _crowd(geometry: Geometry, count: int) -> Mask:
    whole = np.zeros(geometry.shape_zyx, dtype=np.uint16)
    for n in range(count):
        y, x, size = 80 + 9 * (n // 5), 90 + 9 * (n % 5), 7 if n == 7 else 4 + n % 2
        whole[1 + n % 3 : 4, y : y + size, x : x + size] = n + 1
    mask = Mask(whole > 0, geometry)
    return replace(mask, numbers_zyx=whole[mask.box_zyx])


def identified(source: ReportSource, name: str, identity: tuple[str, str] = IDENTITIES["short"]) -> ReportSource:
    """The source with another name, Patient ID and Accession Number, valid or not."""
    patient = Dataset()
    patient.update(source.patient_study)
    with pydicom.config.disable_value_validation():
        patient.PatientName, patient.PatientID, patient.AccessionNumber = PersonName(name), identity[0], identity[1]
    return replace(source, patient_study=patient)


def boxes(sheet: Sheet) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Every text of a sheet and its box as the renderer measures it: (n, 4) x0, y0, x1, y1."""
    renderer = sheet.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for t in sheet.figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t.get_text() for t in texts], np.array([t.get_window_extent(renderer).extents for t in texts])


def collisions(sheet: Sheet, tolerance: float = 0.5) -> list[str]:
    """Texts that print over each other, and texts that leave the sheet."""
    texts, found = boxes(sheet)
    low, high = found[:, :2] + tolerance, found[:, 2:] - tolerance
    overlap = np.all((low[:, None] < high[None]) & (low[None] < high[:, None]), axis=-1)
    said = [f"{texts[i]!r} over {texts[j]!r}" for i, j in np.argwhere(np.triu(overlap, 1)).tolist()]
    size = np.array([sheet.width_px, sheet.height_px])
    outside = np.any((low < 0) | (high > size), axis=1)
    return said + [f"{texts[i]!r} leaves the sheet" for i in np.flatnonzero(outside).tolist()]
