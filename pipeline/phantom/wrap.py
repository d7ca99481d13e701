"""Given voxels and masks (a real T1+C, say) as DICOM MR series and SEG, with made-up T2 and DWI beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.phantom.fields import Field
from pipeline.phantom.headers import clock, save
from pipeline.phantom.seg import drawings_of, make_seg
from pipeline.phantom.series import ExamWriter
from pipeline.phantom.signal import B_VALUES
from pipeline.phantom.spec import PhantomSeries, PhantomSpec
from pipeline.phantom.vendors import STYLES
from pipeline.records import Side

_DESCRIPTION = "Ph1/Ax VIBRANT MPh"


@dataclass(frozen=True, slots=True)
class WrappedExam:
    """What `wrap_volume` wrote. `t1c`, and where asked for `t2`, `dwi` and `adc`, under `series`."""

    folder: Path
    study_uid: str
    geometry: Geometry
    series: Mapping[str, PhantomSeries]
    seg_path: Path
    seg_uid: str

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*(path for series in self.series.values() for path in series.paths), self.seg_path)


def wrap_volume(
    folder: Path,
    voxels_zyx: npt.NDArray[np.integer],
    geometry: Geometry,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    *,
    seed: int = 1,
    side: Side | None = None,
    with_others: bool = True,
) -> WrappedExam:
    """Write `voxels_zyx` as the first phase after contrast of an exam, with `masks` as a SEG on it.

    `masks`: segment label to bool array on the same grid; the label "Tumor" is coded as the tumour, every other
    label as an axillary lymph node. `with_others`: T2, DWI and ADC are made up over the same box on grids of their
    own, in the same frame of reference. Pixels are stored unchanged (signed 16 bit).

    Raises InputRejected if a mask has another shape or is empty, or a value does not fit 16 bits.
    """
    spec = PhantomSpec(seed=seed, vendor="ge")
    grid = replace(geometry, frame_of_reference_uid=spec.uid("frame of reference"))
    _check(voxels_zyx, grid, masks)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ExamWriter(folder, spec)
    series = {"t1c": writer.series("dce", "t1_post", 401, _DESCRIPTION, 1290, [(grid, voxels_zyx, 1, None)], 1)}
    if with_others:
        series |= _others(writer, grid)
    seg = make_seg(
        [dcmread(path) for path in series["t1c"].paths],
        drawings_of(spec, side, masks),
        series_uid=spec.uid("seg series"),
        sop_uid=spec.uid("seg"),
        organization_uid=spec.uid("dimension organization"),
        series_number=900,
        date=spec.study_date,
        time=clock(4 * 3600),
    )
    seg_path = folder / "0900_rois.dcm"
    save(seg, seg_path)
    return WrappedExam(folder, spec.uid("study"), grid, series, seg_path, spec.uid("seg"))


def _check(voxels_zyx: npt.NDArray[np.integer], grid: Geometry, masks: Mapping[str, npt.NDArray[np.bool_]]) -> None:
    if voxels_zyx.shape != grid.shape_zyx:
        raise InputRejected(f"The voxels have shape {voxels_zyx.shape}, their grid {grid.shape_zyx}.")
    if voxels_zyx.min() < -(2**15) or voxels_zyx.max() >= 2**15:
        raise InputRejected("The voxels do not fit signed 16 bits and cannot be stored unchanged.")
    for label, mask in masks.items():
        if mask.shape != grid.shape_zyx or not mask.any():
            raise InputRejected(f"The mask {label!r} is empty or has another shape than the voxels.")


def _others(writer: ExamWriter, t1c: Geometry) -> dict[str, PhantomSeries]:
    """T2, DWI and ADC of featureless tissue over the box of `t1c`, on coarser grids along the same directions."""
    spec, style = writer.spec, STYLES[writer.spec.vendor]
    rng = spec.rng("wrapped tissue")
    extent = [n * s for n, s in zip(t1c.shape_zyx[::-1], t1c.spacing_xyz_mm, strict=True)]
    box = ((-10.0, extent[2] + 10), (-10.0, extent[1] + 10), (-10.0, extent[0] + 10))
    tissue = Field.draw(rng, box, 6.0)
    t2_grid, dwi_grid = _regrid(t1c, extent, 1.2, 1.5), _regrid(t1c, extent, 2.2, 1.9)
    t2 = _noisy(280 * (1 + 0.22 * tissue.at(_axes(t2_grid))), rng, 9.0)
    field = tissue.at(_axes(dwi_grid))
    adc = np.clip(1150 * (1 - 0.15 * field), 200, 3500)
    b0 = 380 * (1 + 0.15 * field)
    b800 = b0 * np.exp(-B_VALUES[1] * 1e-6 * adc)
    stacks = [(dwi_grid, _noisy(b, rng, 4.0), 0, value) for b, value in zip((b0, b800), B_VALUES, strict=True)]
    return {
        "t2": writer.series("t2", "t2", 2, style.t2, 300, [(t2_grid, t2, 0, None)]),
        "dwi": writer.series("dwi", "dwi", 3, style.dwi, 600, stacks),
        "adc": writer.series("adc", "adc", 4, style.adc, 600, [(dwi_grid, adc, 0, None)]),
    }


def _regrid(grid: Geometry, extent_xyz_mm: list[float], in_plane: float, through: float) -> Geometry:
    """The same box with pixels `in_plane` and slices `through` times as large, at least as much of it."""
    spacing = [round(s * f, 6) for s, f in zip(grid.spacing_xyz_mm, (in_plane, in_plane, through), strict=True)]
    matrix = [int(np.ceil(e / s)) + 1 for e, s in zip(extent_xyz_mm, spacing, strict=True)]
    return replace(
        grid, shape_zyx=(matrix[2], matrix[1], matrix[0]), spacing_xyz_mm=(spacing[0], spacing[1], spacing[2])
    )


def _axes(
    grid: Geometry,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Millimetres from the first voxel along k, j and i."""
    z, y, x = (
        s * np.arange(n, dtype=np.float64) for n, s in zip(grid.shape_zyx, grid.spacing_xyz_mm[::-1], strict=True)
    )
    return z, y, x


def _noisy(signal: npt.NDArray[np.floating], rng: np.random.Generator, sigma: float) -> npt.NDArray[np.floating]:
    shape = signal.shape
    return np.hypot(signal + sigma * rng.standard_normal(shape), sigma * rng.standard_normal(shape))
