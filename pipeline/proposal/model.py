"""Regions that a site's own model finds, on the grid of T1+C.

The inputs are brought onto a grid along the patient's axes (x to the left, y backwards, z up) with the card's spacing.
Where a sequence is missing or lies in another frame of reference, nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from pipeline.errors import ExamRejected, RoiRejected
from pipeline.geometry import Geometry
from pipeline.proposal.model_card import Channel, Inputs, ModelCard, SiteModel
from pipeline.proposal.model_child import Limits, run_model
from pipeline.proposal.records import ImageRegion
from pipeline.records import InstanceRef, Mask, Segment, Side, Volume
from pipeline.roi.sides import BILATERAL_MM, side_by_position

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
# The model's grid may have so many voxels in all channels; 448 x 448 x 160 in three have 96 million.
MOST_VOXELS = 100_000_000
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_NOBODY = InstanceRef("", "", "", "")
_MOST_REGIONS = 24
DEMONSTRATION = "Made by a demonstration model that was trained on phantoms alone: it knows no patient."


def model_regions(
    model: SiteModel, volumes: Mapping[str, Volume], limits: Limits
) -> tuple[tuple[ImageRegion, ...], tuple[str, ...]]:
    """Regions in the order of the card, and a sentence for each part that is none. `volumes`: by the card's names.

    Raises ExamRejected (`model-inputs`, `model-failed`) where the exam does not have what the model reads, or where the
    model cannot be run; NotInstalled.
    """
    card, t1c = model.card, volumes["t1c"]
    grid = _grid(card.input, t1c.geometry)
    lacking = [name for name in card.input.sequences if name not in volumes]
    if lacking:
        raise ExamRejected(f"the model reads {', '.join(lacking)}, which this exam does not have", code="model-inputs")
    if grid.shape_zyx[0] * grid.shape_zyx[1] * grid.shape_zyx[2] * len(card.input.sequences) > MOST_VOXELS:
        raise ExamRejected("the images are too large for the model's spacing", code="model-inputs")
    stack = np.stack([_channel(volumes[name], t1c, grid, card.input) for name in card.input.sequences])
    chances = run_model(model, stack, limits)
    regions: list[ImageRegion] = []
    notes: list[str] = []
    for channel, chance in zip(card.output.channel, chances, strict=True):
        mask = _on(chance, grid, t1c.geometry) >= card.output.threshold
        regions += _regions(mask, channel, card, t1c.geometry, notes)
    return tuple(regions[:_MOST_REGIONS]), tuple(notes)


def _grid(wanted: Inputs, source: Geometry) -> Geometry:
    """Along the patient's axes, over all voxel centres of `source`."""
    z, y, x = source.shape_zyx
    corners = np.array([[i, j, k, 1] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)], np.float64)
    places = (source.affine @ corners.T)[:3]
    low, extent = places.min(axis=1), np.ptp(places, axis=1)
    nx, ny, nz = (int(np.floor(e / s + 1e-6)) + 1 for e, s in zip(extent, wanted.spacing_mm, strict=True))
    origin = (float(low[0]), float(low[1]), float(low[2]))
    return Geometry((nz, ny, nx), wanted.spacing_mm, origin, _IDENTITY, source.frame_of_reference_uid)


def _channel(volume: Volume, t1c: Volume, grid: Geometry, wanted: Inputs) -> Floats:
    own, others = volume.geometry.frame_of_reference_uid, t1c.geometry.frame_of_reference_uid
    if own != others:
        raise ExamRejected("the model's inputs lie in different frames of reference", code="model-inputs")
    values = _on(volume.voxels_zyx.astype(np.float32), volume.geometry, grid)
    if wanted.normalisation == "none":
        return values
    if wanted.normalisation == "zscore":
        low, width = float(values.mean()), float(values.std())
        return np.asarray((values - low) / max(width, 1e-6), np.float32)
    low, high = (float(p) for p in np.percentile(values, [1, 99]))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1), np.float32)


def _on(values: Floats, source: Geometry, target: Geometry) -> Floats:
    """Linear; 0 beyond the source."""
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(source.spacing_xyz_mm)
    image.SetOrigin(source.origin_xyz_mm)
    image.SetDirection(source.direction)
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize([int(n) for n in target.shape_zyx[::-1]])
    resample.SetOutputSpacing(target.spacing_xyz_mm)
    resample.SetOutputOrigin(target.origin_xyz_mm)
    resample.SetOutputDirection(target.direction)
    resample.SetInterpolator(SimpleITK.sitkLinear)
    return np.asarray(SimpleITK.GetArrayFromImage(resample.Execute(image)), np.float32)


def _regions(mask: Bools, channel: Channel, card: ModelCard, grid: Geometry, notes: list[str]) -> Iterator[ImageRegion]:
    """A tumour's parts are one region per side; each lymph node is one of its own."""
    parts = _parts(mask, card, grid, notes)
    sided = [(channel.side or _side(part, grid), part) for part in parts]
    if channel.side is None and _is_wide(grid):
        if any(side is None for side, _ in sided):
            notes.append("a part that the model finds near the midline has no side and is not proposed")
        sided = [(side, part) for side, part in sided if side is not None]
    for side in dict.fromkeys(side for side, _ in sided):
        mine = [part for other, part in sided if other == side]
        if channel.role == "tumor":
            yield _region(np.logical_or.reduce(mine), channel, side, None, card, grid)
        else:
            for number, part in enumerate(mine, 1):
                yield _region(part, channel, side, number, card, grid)


def _parts(mask: Bools, card: ModelCard, grid: Geometry, notes: list[str]) -> list[Bools]:
    """Connected parts that are large enough, the largest first."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    least = max(1.0, card.output.least_cc * 1000 / grid.voxel_mm3)
    large = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] >= least]
    if not large:
        notes.append("the model finds nothing that is large enough")
    if len(large) > _MOST_REGIONS:
        notes.append(f"the model finds {len(large)} parts; the {_MOST_REGIONS} largest are proposed")
    return [labels == n + 1 for n in large[:_MOST_REGIONS]]


def _side(part: Bools, grid: Geometry) -> Side | None:
    try:
        return side_by_position(Segment(_NOBODY, 0, "", Mask(part, grid)))
    except RoiRejected:
        return None


def _is_wide(grid: Geometry) -> bool:
    z, y, x = grid.shape_zyx
    corners = np.array([[i, j, k, 1] for i in (-0.5, x - 0.5) for j in (-0.5, y - 0.5) for k in (-0.5, z - 0.5)])
    return float(np.ptp((grid.affine @ corners.T)[0])) >= BILATERAL_MM


def _region(
    mask: Bools, channel: Channel, side: Side | None, number: int | None, card: ModelCard, grid: Geometry
) -> ImageRegion:
    why = ["Found by a model in the images alone; nobody has marked a lesion here."]
    if card.demonstration:
        why.append(DEMONSTRATION)
    figures = {"volume_cc": round(int(mask.sum()) * grid.voxel_mm3 / 1000, 3)}
    return ImageRegion(
        mask, channel.role, side, "model", card.name, card.version, tuple(why), figures, number, card.demonstration
    )
