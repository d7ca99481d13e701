"""ROI objects drawn anew on a phantom exam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from pipeline.align.resample import nearest
from pipeline.catalog import Exam, InstanceFacts, read_facts
from pipeline.geometry import Geometry
from pipeline.phantom import PhantomExam
from pipeline.phantom.seg import ABNORMAL, AXILLARY, BREAST, LYMPH_NODE, NEOPLASM, STRUCTURE, Drawing, make_seg
from pipeline.records import ROLES, Role, Side

Region = tuple[Role, Side | None, npt.NDArray[np.bool_]]


def redrawn(exam: Exam, phantom: PhantomExam, folder: Path, regions: Sequence[Region]) -> Exam:
    """`exam` with one SEG that holds just these regions, masks being on the T1+C grid of the phantom."""
    by_uid = {u: p for s in phantom.series for u, p in zip(s.sop_instance_uids, s.paths, strict=True)}
    images = [dcmread(by_uid[uid]) for uid in phantom.t1c_instances]
    return replace(exam, rois=(_drawn(images, regions, folder / "drawn.dcm", 1),))


def drawn_on_series(
    exam: Exam, phantom: PhantomExam, folder: Path, series_uid: str, roles: Sequence[Role] = ROLES
) -> Exam:
    """`exam` with one SEG of the phantom's regions as if they had been drawn on another of its series."""
    series = next(s for s in phantom.series if s.series_uid == series_uid)
    images = [dcmread(path) for path in series.paths]
    places = sorted({float(i.ImagePositionPatient[2]) for i in images})
    images = [next(i for i in images if float(i.ImagePositionPatient[2]) == place) for place in places]
    if series_uid == phantom.chosen["t1c"]:
        images = [i for uid in phantom.t1c_instances for i in map(dcmread, series.paths) if uid == i.SOPInstanceUID]
    first, row = images[0], float(images[0].PixelSpacing[0])
    thick = (places[-1] - places[0]) / (len(places) - 1)
    x, y, z = (float(v) for v in first.ImagePositionPatient)
    shape = (len(images), int(first.Rows), int(first.Columns))
    grid = Geometry(shape, (float(first.PixelSpacing[1]), row, thick), (x, y, z), phantom.geometry.direction)
    regions: list[Region] = [
        (role, "L", nearest(phantom.masks[role].voxels_zyx, phantom.geometry, grid)) for role in roles
    ]
    return replace(exam, rois=(_drawn(images, regions, folder / f"drawn_{series_uid[-6:]}.dcm", 2),))


def _drawn(images: Sequence[Dataset], regions: Sequence[Region], path: Path, number: int) -> InstanceFacts:
    drawings = []
    for n, (role, side, mask) in enumerate(regions):
        codes = (ABNORMAL, NEOPLASM, BREAST) if role == "tumor" else (STRUCTURE, LYMPH_NODE, AXILLARY)
        name = "Tumor" if role == "tumor" else "Axillary lymph node"
        drawings.append(Drawing(name, mask, *codes, side, f"2.25.77{n}", f"{name} {n}"))
    seg = make_seg(
        images,
        drawings,
        series_uid=f"2.25.700{number}1",
        sop_uid=f"2.25.700{number}2",
        organization_uid=f"2.25.700{number}3",
        series_number=950,
        date="20260115",
        time="120000",
    )
    seg.save_as(path)
    return read_facts(path)
