"""From planes to one regular grid, or the reason why they are not one.

Slices are ordered by where they lie along their common normal (columns x rows, ascending), never by a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.errors import GeometryRejected
from pipeline.geometry import Geometry
from pipeline.volumes.frames import Frame

MIN_SLICES = 3
ANGLE_TOLERANCE = 1e-3  # of direction cosines, radians
STEP_TOLERANCE_MM = 0.02
STEP_TOLERANCE = 0.01  # of the step between slices


def ordered(frames: Sequence[Frame]) -> list[Frame]:
    """The frames from the lowest to the highest along the normal of the first."""
    normal = frames[0].normal
    return sorted(frames, key=lambda f: (float(f.position @ normal), f.instance_number or 0))


def grid_of(frames: Sequence[Frame], min_slices: int = MIN_SLICES) -> tuple[Geometry, list[Frame]]:
    """The grid of the stack and its frames in z order.

    Raises GeometryRejected, naming the slice: mixed sizes, spacings, orientations, series or frames of reference;
    duplicate, missing or unevenly spaced slices; slices that drift sideways; fewer than `min_slices`.
    """
    if not frames:
        raise GeometryRejected("there are no slices")
    _check_alike(frames)
    if len(frames) < min_slices:
        raise GeometryRejected(
            f"only {len(frames)} slice{'s' * (len(frames) > 1)} ({frames[0].name}); a volume needs {min_slices}",
            code="too-few-slices",
            uid=frames[0].source.ref.series_uid,
        )
    stack = ordered(frames)
    first = stack[0]
    step = _step_mm(stack)
    direction = np.column_stack([first.across, first.down, first.normal])
    x, y = first.spacing_xy_mm
    geometry = Geometry(
        (len(stack), first.rows, first.columns),
        (x, y, step),
        (float(first.position[0]), float(first.position[1]), float(first.position[2])),
        tuple(float(v) for v in direction.ravel()),
        first.frame_of_reference_uid,
    )
    return geometry, stack


def alike(one: Frame, other: Frame) -> bool:
    """Whether both planes are oriented the same."""
    turned = max(np.abs(other.across - one.across).max(), np.abs(other.down - one.down).max())
    return bool(turned <= ANGLE_TOLERANCE)


def _check_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for other in frames[1:]:
        if other.source.ref.series_uid != first.source.ref.series_uid:
            problem = "belongs to another series than"
        elif (other.rows, other.columns) != (first.rows, first.columns):
            problem = f"has {other.rows} x {other.columns} pixels, not {first.rows} x {first.columns} as"
        elif not alike(first, other):
            problem = "is oriented otherwise than"
        elif np.abs(np.subtract(other.spacing_xy_mm, first.spacing_xy_mm)).max() > 1e-3 * first.spacing_xy_mm[0]:
            problem = "has another pixel spacing than"
        elif other.frame_of_reference_uid != first.frame_of_reference_uid:
            problem = "is in another frame of reference than"
        else:
            continue
        raise GeometryRejected(
            f"slice {other.name} {problem} slice {first.name}", uid=other.source.ref.sop_instance_uid
        )


def steps_mm(stack: Sequence[Frame]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Distances between neighbours along the normal of the first."""
    normal = stack[0].normal
    return np.diff(np.array([f.position @ normal for f in stack], dtype=np.float64))


def usual_step_mm(steps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The lower median: with one gap among two or three steps it is still the true step."""
    return float(np.sort(steps)[(len(steps) - 1) // 2])


def _step_mm(stack: Sequence[Frame]) -> float:
    """The distance between slices; raises at the first pair that does not keep it."""
    if len(stack) == 1:
        raise GeometryRejected(f"slice {stack[0].name} stands alone", uid=stack[0].source.ref.series_uid)
    steps = steps_mm(stack)
    for step, low, high in zip(steps, stack, stack[1:], strict=False):
        if step < STEP_TOLERANCE_MM:
            raise GeometryRejected(
                f"slices {low.name} and {high.name} lie at the same position: a duplicate, "
                "or slices of two volumes (phases, b-values, echoes)",
                code="duplicate-slice",
                uid=high.source.ref.sop_instance_uid,
            )
    usual = usual_step_mm(steps)
    tolerance = max(STEP_TOLERANCE_MM, STEP_TOLERANCE * usual)
    for step, low, high in zip(steps, stack, stack[1:], strict=False):
        if abs(step - usual) > tolerance:
            _reject_step(float(step), usual, low, high)
    mean = float(steps.mean())
    _check_straight(stack, mean, tolerance)
    return mean


def _reject_step(step: float, usual: float, low: Frame, high: Frame) -> None:
    missing = round(step / usual) - 1
    even = abs(step / usual - round(step / usual)) < 0.05
    problem = (
        f"{missing} slice{'s are' if missing > 1 else ' is'} missing" if even and missing > 0 else "uneven spacing"
    )
    raise GeometryRejected(
        f"{problem} between {low.name} and {high.name}: {step:.3f} mm apart where others are {usual:.3f} mm",
        code="missing-slice" if even and missing > 0 else "uneven-slices",
        uid=high.source.ref.sop_instance_uid,
    )


def _check_straight(stack: Sequence[Frame], step: float, tolerance: float) -> None:
    first = stack[0]
    sideways = max(tolerance, 0.1 * min(first.spacing_xy_mm))
    for k, frame in enumerate(stack):
        off = frame.position - (first.position + k * step * first.normal)
        if np.abs(off).max() > sideways:
            raise GeometryRejected(
                f"slice {frame.name} lies {np.abs(off).max():.3f} mm off the straight line from {first.name}",
                code="sheared-stack",
                uid=frame.source.ref.sop_instance_uid,
            )
