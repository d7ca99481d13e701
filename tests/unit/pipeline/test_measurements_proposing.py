"""Labels and sides of the regions that several measurements give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.catalog import read_facts
from pipeline.geometry import Geometry
from pipeline.measurements import ProposedRegions, propose_regions, read_measurements
from pipeline.phantom.measurements import DrawnTool, ohif_report
from pipeline.records import Volume
from tests.support import measuring
from tests.support.measuring import SPEC, image, stored

NARROW, WIDE = -60.0, -170.0


def proposed(folder: Path, places: dict[tuple[float, float], str], left_edge_mm: float = NARROW) -> ProposedRegions:
    """Spheres of 14 mm, brighter than what is around them, with axes drawn on the middle slice of ten."""
    width = round(-2 * left_edge_mm)
    grid = Geometry(
        (10, 60, width), (1.0, 1.0, 2.0), (left_edge_mm, -30.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1), "1.2.3.4"
    )
    of = image(origin=(left_edge_mm, -30.0, 10.0), size_yx=(60, width), series=f"wide {width}")
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in grid.shape_zyx), indexing="ij")
    voxels = np.random.default_rng(1).normal(100, 5, grid.shape_zyx)
    drawn = []
    for (px, py), label in places.items():
        column, row = px - left_edge_mm, py + 30
        voxels[((x - column) ** 2 + (y - row) ** 2 + (2 * (z - 5)) ** 2) < 49] += 300
        c, r = column + 0.5, row + 0.5
        drawn.append(
            DrawnTool("Bidirectional", label, of, [(c - 7, r), (c + 7, r), (c, r - 7), (c, r + 7)], (14.0, 14.0))
        )
    report = read_measurements(stored(ohif_report(SPEC, drawn)))
    facts = [read_facts(measuring.store(of, folder / "image.dcm"))]
    return propose_regions([report], Volume(voxels.astype(np.float32), grid, of.SeriesInstanceUID), None, facts)


def labels(regions: ProposedRegions) -> list[str]:
    return [r.label for r in regions.regions]


def test_labels_are_in_our_own_words_with_side_and_number(tmp_path: Path) -> None:
    places = {(0.0, 0.0): "cancer L", (30.0, 0.0): "LN2 axilla left", (-30.0, 0.0): "左腋窝淋巴结1"}
    assert labels(proposed(tmp_path, places)) == ["Tumor, left", "Lymph node 1, left", "Lymph node 2, left"]


def test_several_tumours_of_one_side_are_numbered(tmp_path: Path) -> None:
    places = {(0.0, 0.0): "Tumor, left", (30.0, 0.0): "mass left", (-30.0, 0.0): "LN left"}
    assert labels(proposed(tmp_path, places)) == ["Tumor 1, left", "Tumor 2, left", "Lymph node 1, left"]


def test_where_only_some_measurements_have_a_side_none_is_given_one(tmp_path: Path) -> None:
    regions = proposed(tmp_path, {(0.0, 0.0): "Tumor", (30.0, 0.0): "LN 1, left"})
    assert labels(regions) == ["Tumor", "Lymph node 1"]
    assert [len(r.placed.notes) for r in regions.regions] == [0, 1]


def test_where_both_sides_are_told_a_measurement_without_one_is_listed(tmp_path: Path) -> None:
    regions = proposed(tmp_path, {(0.0, 0.0): "Tumor", (30.0, 0.0): "LN, left", (-30.0, 0.0): "LN, right"})
    assert labels(regions) == ["Lymph node 1, left", "Lymph node 1, right"]
    assert [n.code for n in regions.not_used] == ["no-side"]


def test_images_of_both_breasts_tell_the_side_and_contradict_a_wrong_one(tmp_path: Path) -> None:
    regions = proposed(tmp_path, {(100.0, 0.0): "Tumor", (130.0, 0.0): "LN, right"}, WIDE)
    assert labels(regions) == ["Tumor, left"]
    assert [n.code for n in regions.not_used] == ["side-contradicts"]


@pytest.mark.parametrize("label", ["Tumor", "LN"])
def test_equal_measurements_give_equal_voxels(tmp_path: Path, label: str) -> None:
    one, other = (proposed(tmp_path, {(0.0, 0.0): label}) for _ in range(2))
    assert np.array_equal(one.regions[0].proposal.mask, other.regions[0].proposal.mask)
