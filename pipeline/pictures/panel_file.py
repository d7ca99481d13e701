"""Panels as one `.npz` file: arrays as arrays, the rest as JSON; nothing pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: values of JSON; arrays of a file by name

import numpy as np
import numpy.typing as npt

from pipeline import described_arrays
from pipeline.pictures.panel import Contour, Panel
from pipeline.records import InstanceRef, SliceSource

_SCHEMA = "axrad.panels/1"


def panels_to_bytes(panels: tuple[Panel, ...]) -> bytes:
    """`panels` as a file; the same panels give the same bytes."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    described = []
    for i, panel in enumerate(panels):
        arrays[f"image_{i}"] = panel.image_yx
        for j, contour in enumerate(panel.contours):
            arrays[f"contour_{i}_{j}"] = contour.points_xy
        described.append(_described(panel))
    return described_arrays.to_bytes("panels", _SCHEMA, described, arrays)


def save_panels(path: Path, panels: tuple[Panel, ...]) -> None:
    """Write `panels` into a file that `load_panels` reads."""
    path.write_bytes(panels_to_bytes(panels))


def load_panels(path: Path) -> tuple[Panel, ...]:
    """Read what `save_panels` wrote. Raises InputRejected."""
    return described_arrays.read(path, "panels", _SCHEMA, _panel)


def _described(panel: Panel) -> dict[str, object]:
    source = panel.source
    return {
        "sequence": panel.sequence,
        "focus": panel.focus,
        "side": panel.side,
        "spacing_yx_mm": panel.spacing_yx_mm,
        "offset_yx": panel.offset_yx,
        "edges": panel.edges,
        "window": (panel.window_centre, panel.window_width),
        "slice": (panel.slice_number, panel.slices),
        "caption": panel.caption,
        "series_uid": panel.series_uid,
        "frame_of_reference_uid": panel.frame_of_reference_uid,
        "node": panel.node,
        "contours": [(c.role, c.side, c.number) for c in panel.contours],
        "source": None
        if source is None
        else [
            source.ref.study_uid,
            source.ref.series_uid,
            source.ref.sop_class_uid,
            source.ref.sop_instance_uid,
            source.frame,
        ],
    }


def _panel(i: int, entry: dict[str, Any], arrays: Mapping[str, Any]) -> Panel:
    source = entry["source"]
    return Panel(
        sequence=entry["sequence"],
        focus=entry["focus"],
        side=entry["side"],
        image_yx=arrays[f"image_{i}"],
        spacing_yx_mm=tuple(entry["spacing_yx_mm"]),
        offset_yx=tuple(entry["offset_yx"]),
        edges=tuple(entry["edges"]),
        window_centre=entry["window"][0],
        window_width=entry["window"][1],
        contours=tuple(
            Contour(role, side, arrays[f"contour_{i}_{j}"], number)
            for j, (role, side, number) in enumerate(entry["contours"])
        ),
        slice_number=entry["slice"][0],
        slices=entry["slice"][1],
        caption=entry["caption"],
        series_uid=entry["series_uid"],
        frame_of_reference_uid=entry["frame_of_reference_uid"],
        source=None if source is None else SliceSource(InstanceRef(*source[:4]), source[4]),
        node=entry.get("node"),
    )
