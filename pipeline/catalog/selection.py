"""Precisely which instances and frames of an exam make up one volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.catalog.facts import InstanceFacts


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One slice: an instance, and for a multi-frame instance the 1-based number of the frame."""

    instance: InstanceFacts
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """One sequence's choice.

    `frames` are exactly the slices of one volume (in no order: volumes are sorted by position). For an ADC that
    has to be computed, `frames` is empty and `frames_by_b` holds per b-value (s/mm2) the slices of one volume;
    where a b-value was measured in several directions or repetitions, `repeats_by_b` holds one tuple of slices
    per measurement, to be averaged geometrically. `unit_scale` brings an ADC map's values to 10-6 mm2/s where known.
    """

    series_uid: str
    why: str
    confidence: float = 1.0
    phase: str | None = None
    description: str = ""
    frames: tuple[FrameRef, ...] = ()
    frames_by_b: Mapping[float, tuple[FrameRef, ...]] = field(default_factory=dict)
    repeats_by_b: Mapping[float, tuple[tuple[FrameRef, ...], ...]] = field(default_factory=dict)
    unit_scale: float | None = None

    def of(self, frames: tuple[FrameRef, ...]) -> Selection:
        """The same choice narrowed to one volume, for a loader."""
        return replace(self, frames=frames, frames_by_b={}, repeats_by_b={})


def images_of(selection: Selection) -> list[InstanceFacts]:
    """Every image that loading the selection reads, each once."""
    frames = [*selection.frames]
    for b, volume in selection.frames_by_b.items():
        frames += [frame for repeat in selection.repeats_by_b.get(b) or (volume,) for frame in repeat]
    return list({frame.instance.ref: frame.instance for frame in frames}.values())


def same_images(one: Selection, other: Selection) -> bool:
    """Whether two selections read the same slices in the same way, whatever led to them."""
    return (one.frames, one.frames_by_b, one.repeats_by_b, one.unit_scale) == (
        other.frames,
        other.frames_by_b,
        other.repeats_by_b,
        other.unit_scale,
    )
