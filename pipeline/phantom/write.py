"""A whole synthetic exam as DICOM files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from pipeline.geometry import Geometry
from pipeline.phantom import anatomy as body
from pipeline.phantom.hard_anatomy import make_hard
from pipeline.phantom.hard_scene import HardScene
from pipeline.phantom.headers import clock, save
from pipeline.phantom.seg import drawings_of, make_seg
from pipeline.phantom.series import ExamWriter
from pipeline.phantom.signal import B_VALUES, Scene
from pipeline.phantom.spec import Drawn, PhantomExam, PhantomSeries, PhantomSpec
from pipeline.phantom.vendors import PHASES, SECONDS_PER_PHASE, STYLES
from pipeline.records import Mask


def write_exam(folder: Path, spec: PhantomSpec) -> PhantomExam:
    """Write one exam below `folder` (made if missing; the exam's series folders must not exist in it yet).

    Equal specs give equal bytes. Series: localizer, T2, DWI (b 0 and 800), ADC map, the dynamic (one phase before
    and four after contrast), subtraction, MIP; and a SEG on the first phase after contrast. The preset "hard" has other
    lesions (`hard_anatomy`) in T1 of its own (`hard_scene`).
    """
    drawn = spec.drawn()
    hard = make_hard(spec, drawn) if spec.preset == "hard" else None
    anatomy = hard or body.make(spec, drawn)
    writer = ExamWriter(folder, spec)
    folder.mkdir(parents=True, exist_ok=True)
    t1_grid = body.grid(spec, drawn, spec.grids.t1_matrix, drawn.t1_spacing_mm)
    scene = HardScene.of(spec, hard, t1_grid) if hard else Scene.on(anatomy, drawn, t1_grid)
    phases = [np.rint(scene.t1(p, spec.rng(f"noise t1 {p}"))) for p in range(PHASES)]
    series = [_localizer(writer, anatomy, drawn), _t2(writer, anatomy, drawn), *_diffusion(writer, anatomy, drawn)]
    dynamic = list(_dce(writer, t1_grid, phases))
    series += [*dynamic, *_derived(writer, t1_grid, phases)]
    t1c = next(s for s in dynamic if s.phase == 1 or s.label == "t1_dynamic")
    start = t1_grid.shape_zyx[0] if t1c.label == "t1_dynamic" else 0
    span = slice(start, start + t1_grid.shape_zyx[0])
    masks = [scene.lesion_mask(lesion) for lesion in anatomy.lesions]
    seg_uid = spec.uid("seg", spec.seg_revision)
    seg_path = folder / f"0900_rois_{spec.seg_revision}.dcm" if spec.with_seg else None
    if seg_path is not None:
        _write_seg(seg_path, seg_uid, spec, drawn, t1c.paths[span], masks)
    by_label = {s.label: s for s in series}
    chosen = {
        "t1c": t1c.series_uid,
        "t2": by_label["t2"].series_uid,
        "adc": by_label.get("adc", by_label["dwi"]).series_uid,
    }
    return PhantomExam(
        folder, spec, drawn, spec.uid("study"), spec.uid("frame of reference"), tuple(series),
        {"t1c": chosen["t1c"], "t2": chosen["t2"], "adc": chosen["adc"]},
        t1c.sop_instance_uids[span], t1_grid,
        {"tumor": Mask(masks[0], t1_grid), "lymph_nodes": Mask(np.logical_or.reduce(masks[1:]), t1_grid)},
        seg_path, seg_uid if spec.with_seg else None,
    )  # fmt: skip


def _localizer(writer: ExamWriter, anatomy: body.Anatomy, drawn: Drawn) -> PhantomSeries:
    """Three orthogonal slices through the middle, 5 mm apart from nothing else."""
    spec, size, pixel = writer.spec, 96, 3.6
    fixed = body.grid(spec, drawn, (1, 1, 1), (1.0, 1.0, 1.0)).origin_xyz_mm
    stacks = []
    for axis, direction in (
        (2, (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        (1, (1, 0, 0, 0, 0, 1, 0, -1, 0)),
        (0, (0, 0, -1, 1, 0, 0, 0, -1, 0)),
    ):
        matrix = [size, size, size]
        spacing = [pixel, pixel, pixel]
        matrix[axis], spacing[axis] = 1, 6.0
        flat = body.grid(spec, drawn, (matrix[0], matrix[1], matrix[2]), (spacing[0], spacing[1], spacing[2]))
        scene = Scene.on(anatomy, drawn, flat)
        plane = np.squeeze(scene.t2(spec.rng(f"noise localizer {axis}")), axis=2 - axis)
        origin = list(flat.origin_xyz_mm)
        if axis != 2:  # sagittal and coronal pictures run from head to foot
            plane = plane[::-1]
            origin[2] = round(fixed[2] + pixel * (size - 1) / 2, 4)
        geometry = Geometry(
            (1, size, size), (pixel, pixel, 6.0), (origin[0], origin[1], origin[2]),
            tuple(float(v) for v in direction), flat.frame_of_reference_uid,
        )  # fmt: skip
        stacks.append((geometry, plane[None], 0, None))
    return writer.series("localizer", "localizer", 1, STYLES[spec.vendor].localizer, 0, stacks)


def _t2(writer: ExamWriter, anatomy: body.Anatomy, drawn: Drawn) -> PhantomSeries:
    spec = writer.spec
    geometry = body.grid(spec, drawn, spec.grids.t2_matrix, drawn.t2_spacing_mm, (0.0, 0.0, 0.7))
    voxels = Scene.on(anatomy, drawn, geometry).t2(spec.rng("noise t2"))
    return writer.series("t2", "t2", 2, STYLES[spec.vendor].t2, 300, [(geometry, voxels, 0, None)])


def _diffusion(writer: ExamWriter, anatomy: body.Anatomy, drawn: Drawn) -> Iterator[PhantomSeries]:
    spec = writer.spec
    style = STYLES[spec.vendor]
    geometry = body.grid(spec, drawn, spec.grids.dwi_matrix, drawn.dwi_spacing_mm, (1.1, -0.8, -0.6))
    low, high, adc = Scene.on(anatomy, drawn, geometry).diffusion(spec.rng("noise dwi"))
    stacks = [(geometry, low, 0, B_VALUES[0]), (geometry, high, 0, B_VALUES[1])]
    yield writer.series("dwi", "dwi", 3, style.dwi, 600, stacks)
    if spec.with_adc_map:
        scaled = adc * 1e-3 if style.rescale_slope is not None else adc
        yield writer.series("adc", "adc", 4, style.adc, 600, [(geometry, scaled, 0, None)])


def _dce(writer: ExamWriter, geometry: Geometry, phases: list[npt.NDArray[np.float32]]) -> Iterator[PhantomSeries]:
    names = STYLES[writer.spec.vendor].dce
    stacks = [(geometry, voxels, phase, None) for phase, voxels in enumerate(phases)]
    if writer.one_dce_series:
        yield writer.series("dce", "t1_dynamic", 400, names[0], 1200, stacks)
        return
    for phase, stack in enumerate(stacks):
        label = "t1_post" if phase else "t1_pre"
        yield writer.series("dce", label, 400 + phase, names[phase], 1200 + phase * SECONDS_PER_PHASE, [stack], phase)


def _derived(writer: ExamWriter, geometry: Geometry, phases: list[npt.NDArray[np.float32]]) -> Iterator[PhantomSeries]:
    """Subtraction (first phase after contrast minus before) and its axial maximum projection: never to be chosen."""
    style = STYLES[writer.spec.vendor]
    difference = np.clip(phases[1] - phases[0], 0, None)
    yield writer.series("subtraction", "subtraction", 500, style.subtraction, 1700, [(geometry, difference, 1, None)])
    nz = geometry.shape_zyx[0]
    x, y, z = geometry.spacing_xyz_mm
    ox, oy, oz = geometry.origin_xyz_mm
    slab = Geometry(
        (1, *geometry.shape_zyx[1:]), (x, y, round(z * nz, 4)), (ox, oy, round(oz + z * (nz - 1) / 2, 4)),
        geometry.direction, geometry.frame_of_reference_uid,
    )  # fmt: skip
    yield writer.series("mip", "mip", 501, style.mip, 1700, [(slab, difference.max(axis=0)[None], 1, None)])


def _write_seg(
    path: Path,
    sop_uid: str,
    spec: PhantomSpec,
    drawn: Drawn,
    images: tuple[Path, ...],
    masks: list[npt.NDArray[np.bool_]],
) -> None:
    sources = [dcmread(image) for image in images]
    labels = ["Tumor", *(f"Axillary lymph node {n}" for n in range(1, len(masks)))]
    drawings = drawings_of(spec, drawn.laterality, dict(zip(labels, masks, strict=True)))
    seg = make_seg(
        sources,
        drawings,
        series_uid=spec.uid("seg series", spec.seg_revision),
        sop_uid=sop_uid,
        organization_uid=spec.uid("dimension organization", spec.seg_revision),
        series_number=900 + spec.seg_revision - 1,
        date=spec.study_date,
        time=clock(4 * 3600 + 3600 * spec.seg_revision),
    )
    save(seg, path)
