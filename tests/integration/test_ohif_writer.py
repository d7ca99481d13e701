"""What OHIF's own writer makes of drawn tools is read as it was drawn: the viewer's dcmjs, run by Node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.catalog import read_facts
from pipeline.geometry import Geometry
from pipeline.measurements import MeasurementReport, placed, read_file
from tests.support import measuring, viewer

SCRIPT = viewer.HERE / "write_measurements.mjs"
BUNDLE = viewer.FOLDER / f"ohif-{viewer.OHIF}" / "package" / "dist"
GRID = Geometry((20, 100, 120), (1.0, 1.0, 2.0), (-50.0, -40.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), "1.2.3.4")
IMAGE = measuring.image()

pytestmark = [
    pytest.mark.peer("node"),
    pytest.mark.skipif(not BUNDLE.is_dir(), reason="no OHIF here (script/peers-viewer installs it)"),
]


class Drawn(NamedTuple):
    tool: str
    shape: str
    points: Sequence[tuple[float, float]]
    values: Sequence[float | None]


def at_random(rng: np.random.Generator) -> Iterator[Drawn]:
    """Each tool once, somewhere in the image."""
    x, y = rng.uniform(30, 70, 2)
    half, turn = rng.uniform(5, 15), rng.uniform(0, np.pi)
    u = np.array([np.cos(turn), np.sin(turn)])
    v = np.array([-u[1], u[0]]) * rng.uniform(0.5, 0.95)
    centre = np.array([x, y])
    across = [centre - half * u, centre + half * u, centre - half * v, centre + half * v]
    corners = [centre + half * (a * u + b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    angles = np.linspace(0, 2 * np.pi, 23, endpoint=False)
    line = [centre + half * np.array([np.cos(a), 0.8 * np.sin(a)]) for a in angles]
    short = 2 * half * float(np.linalg.norm(v))
    for tool, shape, points, values in (
        ("Bidirectional", "axes", across, [2 * half, short]),
        ("Length", "length", across[:2], [2 * half]),
        ("EllipticalROI", "ellipse", across, [100.0]),
        ("CircleROI", "circle", [centre, across[0]], [100.0, half, 6.28 * half]),
        ("RectangleROI", "rectangle", corners, [100.0, 50.0]),
        ("PlanarFreehandROI", "outline", [*line, line[0]], [100.0, 50.0]),
        ("ArrowAnnotate", "point", across[:2], []),
    ):
        yield Drawn(tool, shape, [(float(p[0]), float(p[1])) for p in points], values)


def written(folder: Path, drawn: Sequence[Drawn], label: str, place: str) -> list[MeasurementReport]:
    """What is read of the reports that OHIF's writer writes, one for each drawn tool."""
    header = {k: str(v) if not isinstance(v, int) else v for k, v in values_of(IMAGE).items()}
    (bundle,) = BUNDLE.glob("app.bundle.*.js")
    tools = [{"tool": d.tool, "label": label, "place": place, "points": d.points, "values": d.values} for d in drawn]
    order = {"folder": str(folder), "bundle": str(bundle), "image": header, "drawn": tools}
    subprocess.run(["node", str(SCRIPT)], input=json.dumps(order), text=True, check=True)
    return [read_file(folder / f"{n}.dcm") for n in range(len(drawn))]


def values_of(ds: Dataset) -> dict[str, object]:
    return {e.keyword: e.value for e in ds if e.VR != "SQ" and e.VM == 1}


@pytest.mark.parametrize(("label", "place"), [("Tumor, left", "finding_site"), ("左侧乳腺癌", "finding")])
def test_every_tool_is_read_as_it_was_drawn(tmp_path: Path, label: str, place: str) -> None:
    rng = np.random.default_rng(1)
    drawn = [d for _ in range(10) for d in at_random(rng)]
    reports = written(tmp_path, drawn, label, place)
    assert [n.why for r in reports for n in r.not_used] == []
    measurements = [m for r in reports for m in r.measurements]
    assert [m.shape for m in measurements] == [d.shape for d in drawn]
    assert {(m.role, m.side, m.label) for m in measurements} == {("tumor", "L", label)}
    for one, measurement in zip(drawn, measurements, strict=True):
        points = measuring.flat([p for g in measurement.graphics for p in g.points])
        assert points == pytest.approx(measuring.flat(one.points)[: len(points)], abs=1e-4)


def test_what_was_drawn_lies_on_the_grid_and_lengths_agree(tmp_path: Path) -> None:
    drawn = list(at_random(np.random.default_rng(2)))
    images = [read_facts(measuring.store(IMAGE, tmp_path / "image.dcm"))]
    done = [placed(report, images, GRID) for report in written(tmp_path, drawn, "Tumor", "finding")]
    assert [[n.code for n in p.not_used] for p in done] == [[]] * 6 + [["point"]]


def test_a_freehand_line_that_stays_open_surrounds_nothing(tmp_path: Path) -> None:
    line = Drawn("PlanarFreehandROI", "outline", [(40.0, 40.0), (60.0, 40.0), (50.0, 50.0)], [None, 50.0])
    (report,) = written(tmp_path, [line], "Tumor", "finding")
    assert (report.measurements, [n.code for n in report.not_used]) == ((), ["open-line"])
