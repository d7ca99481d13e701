"""Measurements that real writers made of phantoms are read as the truth beside them says: OHIF by mouse, its libraries,
highdicom, dcmqi. The phantoms are made anew; their images have the UIDs that the measurements refer to.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from config.load import load
from pipeline import sequences, volumes
from pipeline.catalog import Exam, exam_in
from pipeline.measurements import Placement, placed, read_file
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Vendor
from pipeline.proposal.records import Axes
from pipeline.records import Volume

SEEDS = {"siemens": 4101, "ge": 4102, "philips": 4103}
SEGMENTS, NO_WORD = "of-a-segment", "no-role"
# File: how many measurements are placed, and why the others are not.
EXPECTED: dict[str, tuple[int, list[str]]] = {
    "ohif_ui/siemens_bidirectional_4.dcm": (4, []),
    "ohif_ui/siemens_bidirectional_on_subtraction.dcm": (2, []),
    "ohif_ui/siemens_one_sr_tumour.dcm": (1, []),
    "ohif_ui/siemens_one_sr_node1.dcm": (1, []),
    "ohif_ui/ge_length_arrow_circle_mostly_unlabelled.dcm": (0, [NO_WORD, NO_WORD, "point"]),
    "ohif_ui/philips_length_unlabelled_4d_series.dcm": (0, [NO_WORD] * 2),
    "cornerstone_adapters/siemens_bidir_coded.dcm": (4, []),
    "cornerstone_adapters/siemens_bidir_codes_nolabel.dcm": (3, []),
    "cornerstone_adapters/siemens_bidir_nothing.dcm": (0, [NO_WORD] * 4),
    "cornerstone_adapters/siemens_bidir_on_subtraction.dcm": (2, []),
    "cornerstone_adapters/siemens_length_on_t2.dcm": (2, []),
    "cornerstone_adapters/ge_bidir_3d.dcm": (4, []),
    "cornerstone_adapters/ge_bidir_on_subtraction.dcm": (2, []),
    "cornerstone_adapters/ge_Length_3d.dcm": (1, []),
    "cornerstone_adapters/ge_RectangleROI_3d.dcm": (1, []),
    "cornerstone_adapters/ge_CircleROI_3d.dcm": (1, []),
    "cornerstone_adapters/ge_ArrowAnnotate_3d.dcm": (0, ["point"]),
    "cornerstone_adapters/ge_Probe_3d.dcm": (0, ["point"]),
    "cornerstone_adapters/philips_bidir_on_subtraction.dcm": (2, []),
    "highdicom/hd_planar_scoord.dcm": (4, []),
    "highdicom/hd_planar_scoord3d.dcm": (4, []),
    "highdicom/hd_segment_reference.dcm": (0, [SEGMENTS] * 4),
    "highdicom/srt_axes_GA185.dcm": (4, []),
    "highdicom/sct_axes_labels_only.dcm": (4, []),
    "highdicom/sct_axes_scoord3d.dcm": (4, []),
    "highdicom/gsps_annotations.dcm": (2, [NO_WORD, "point"]),
    "dcmqi/dcmqi_tid1500.dcm": (0, [SEGMENTS] * 4),
}


@pytest.fixture(scope="module")
def manifest(cases: Path) -> dict[str, Any]:
    path = cases / "measurements" / "manifest.json"
    if not path.is_file():
        pytest.skip(f"no real measurements at {path.parent}")
    entries = json.loads(path.read_text())["files"]
    return {entry["file"]: entry for entry in entries}


@pytest.fixture(scope="module")
def exam_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def made(vendor: Vendor) -> tuple[Exam, Volume]:
        folder = tmp_path_factory.mktemp(vendor) / "exam"
        write_exam(folder, PhantomSpec(SEEDS[vendor], vendor, "small", with_seg=False))
        exam, settings = exam_in(folder), load(None).sequences
        return exam, volumes.load(sequences.match(exam, settings).chosen["t1c"], settings)

    assert set(get_args(Vendor)) == set(SEEDS)
    return made


@pytest.mark.cases
@pytest.mark.parametrize("name", EXPECTED)
def test_what_real_writers_wrote_is_read_as_its_truth_says(
    name: str, cases: Path, manifest: dict[str, Any], exam_of: Any
) -> None:
    entry = manifest[name]
    exam, t1c = exam_of(entry["exam"])
    placement = placed(read_file(cases / "measurements" / name), exam.images, t1c.geometry)
    assert (len(placement.placed), sorted(n.code for n in placement.not_used)) == EXPECTED[name]
    check_against(entry, placement)


def check_against(entry: dict[str, Any], placement: Placement) -> None:
    """Each is of the role of the region it was drawn on, and its axes end within 0.002 mm of where they were drawn."""
    for one in placement.placed:
        number = one.measurement.number - 1
        truths = [t for t in entry["truth"] if t.get("group", entry["truth"].index(t)) == number]
        regions = [t["roi"] for t in truths] or [entry["in_file"][number]["roi_nearest"]]
        assert one.measurement.role == ("tumor" if regions[0] == "tumour" else "lymph_nodes")
        if isinstance(one.marking, Axes):
            graphics = entry.get("in_file", [])
            drawn = [np.array(g["mm"]) for g in graphics[number]["graphics"]] if graphics else []
            drawn = drawn or [np.array(truths[0]["points_mm"])[n : n + 2] for n in (0, 2)]
            lines = [np.array(line) for line in (one.marking.long, one.marking.short) if line]
            assert [np.abs(line - other).max() for line, other in zip(lines, drawn, strict=True)] == pytest.approx(
                [0.0] * len(lines), abs=0.002
            )
