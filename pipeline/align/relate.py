"""How T1+C relates to another sequence, and its regions carried there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from config.schema import Align
from pipeline.align.resample import nearest, numbers_on
from pipeline.align.rigid import middle_mm, register
from pipeline.align.spatial import between
from pipeline.catalog import InstanceFacts
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.records import AlignedRoi, AlignmentEvidence, Mask, Roi, Volume

Matrix = npt.NDArray[np.float64]
Method = Literal["same_grid", "frame_of_reference", "spatial_registration", "rigid"]


def relate(
    t1c: Volume, target: Volume, settings: Align, registrations: Sequence[InstanceFacts] = ()
) -> AlignmentEvidence:
    """How points of T1+C become points of `target`: by registration object, else by the frame of reference.

    With settings.registration "rigid" the images themselves are registered from there, also where the frames of
    reference differ. Raises GeometryRejected: nothing relates the two, or they are further apart than the limits.
    """
    given = between(t1c, target, [r.path for r in registrations if r.path is not None])
    if given is not None:
        return _evidence("spatial_registration", given[0], t1c, {"registration_uid": given[1]})
    if settings.registration == "rigid" and t1c.series_uid != target.series_uid:
        matrix, details = register(t1c, target, settings.seed)
        evidence = _evidence("rigid", matrix, t1c, details)
        _check_limits(evidence, target, settings)
        return evidence
    if _same_space(t1c, target):
        same = t1c.geometry.same_grid(target.geometry)
        return _evidence("same_grid" if same else "frame_of_reference", np.eye(4), t1c, {})
    raise GeometryRejected(
        f"series {t1c.series_uid} and {target.series_uid} lie in different frames of reference "
        f"({t1c.geometry.frame_of_reference_uid or 'none'}, {target.geometry.frame_of_reference_uid or 'none'}), and "
        "neither a registration object nor align.registration relates them",
        code="other-frame-of-reference",
        uid=target.series_uid,
    )


def apply(roi: Roi, target: Volume, evidence: AlignmentEvidence, settings: Align) -> AlignedRoi:
    """The region on the grid of `target`, nearest voxel. Raises RoiRejected: lost, or too much of it gained or lost."""
    source = roi.mask.geometry
    matrix = np.eye(4) if evidence.transform is None else np.array(evidence.transform).reshape(4, 4)
    if source.same_grid(target.geometry) and np.allclose(matrix, np.eye(4), atol=1e-9):
        mask = Mask(roi.mask.voxels_zyx, target.geometry, roi.mask.numbers_zyx)
    else:
        mask = Mask(nearest(roi.mask.voxels_zyx, source, target.geometry, matrix), target.geometry)
        mask = replace(mask, numbers_zyx=numbers_on(mask, roi.mask, matrix))
    kept_volume = mask.volume_mm3 / roi.mask.volume_mm3 if roi.mask.voxels else 0.0
    if not mask.voxels:
        raise RoiRejected(
            f"the {roi.role} region has no voxel on series {target.series_uid}: it lies outside or between its slices",
            code="roi-outside",
            uid=target.series_uid,
        )
    if not settings.min_kept_volume <= kept_volume <= settings.max_kept_volume:
        raise RoiRejected(
            f"the {roi.role} region keeps {kept_volume:.2f} of its volume on series {target.series_uid}; "
            f"{settings.min_kept_volume:g} to {settings.max_kept_volume:g} is allowed",
            code="roi-volume",
            uid=target.series_uid,
        )
    return AlignedRoi(mask, kept_volume)


def carry(
    roi: Roi, target: Volume, t1c: Volume, settings: Align, registrations: Sequence[InstanceFacts] = ()
) -> tuple[AlignedRoi, AlignmentEvidence]:
    """`relate` and `apply` in one. For several regions on one target, relate once."""
    evidence = relate(t1c, target, settings, registrations)
    return apply(roi, target, evidence, settings), evidence


def _same_space(one: Volume, other: Volume) -> bool:
    frame = one.geometry.frame_of_reference_uid
    return one.series_uid == other.series_uid or (frame is not None and frame == other.geometry.frame_of_reference_uid)


def _evidence(method: Method, matrix: Matrix, t1c: Volume, details: dict[str, float | str]) -> AlignmentEvidence:
    """`shift_mm` is how far the middle of T1+C moves."""
    middle = middle_mm(t1c.geometry)
    moved = matrix[:3, :3] @ middle + matrix[:3, 3] - middle
    turn = np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)
    return AlignmentEvidence(
        method,
        tuple(float(v) for v in matrix.ravel()),
        float(np.linalg.norm(moved)),
        float(np.degrees(np.arccos(turn))),
        details,
    )


def _check_limits(evidence: AlignmentEvidence, target: Volume, settings: Align) -> None:
    if evidence.shift_mm > settings.max_shift_mm or evidence.rotation_deg > settings.max_rotation_deg:
        raise GeometryRejected(
            f"registration would move series {target.series_uid} by {evidence.shift_mm:.1f} mm and "
            f"{evidence.rotation_deg:.1f} degrees; {settings.max_shift_mm:g} mm and "
            f"{settings.max_rotation_deg:g} degrees are allowed",
            code="registration-too-far",
            uid=target.series_uid,
        )
