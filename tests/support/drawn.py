"""ROI objects drawn anew on a phantom exam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from pipeline.catalog import Exam, read_facts
from pipeline.phantom import PhantomExam
from pipeline.phantom.seg import ABNORMAL, AXILLARY, BREAST, LYMPH_NODE, NEOPLASM, STRUCTURE, Drawing, make_seg
from pipeline.records import Role, Side

Region = tuple[Role, Side | None, npt.NDArray[np.bool_]]


def redrawn(exam: Exam, phantom: PhantomExam, folder: Path, regions: Sequence[Region]) -> Exam:
    """`exam` with one SEG that holds just these regions, masks being on the T1+C grid of the phantom."""
    by_uid = {u: p for s in phantom.series for u, p in zip(s.sop_instance_uids, s.paths, strict=True)}
    drawings = []
    for n, (role, side, mask) in enumerate(regions):
        codes = (ABNORMAL, NEOPLASM, BREAST) if role == "tumor" else (STRUCTURE, LYMPH_NODE, AXILLARY)
        name = "Tumor" if role == "tumor" else "Axillary lymph node"
        drawings.append(Drawing(name, mask, *codes, side, f"2.25.77{n}", f"{name} {n}"))
    seg = make_seg(
        [dcmread(by_uid[uid]) for uid in phantom.t1c_instances],
        drawings,
        series_uid="2.25.7001",
        sop_uid="2.25.7002",
        organization_uid="2.25.7003",
        series_number=950,
        date="20260115",
        time="120000",
    )
    path = folder / "drawn.dcm"
    seg.save_as(path)
    return replace(exam, rois=(read_facts(path),))
