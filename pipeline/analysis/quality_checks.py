"""Checks of the input that a reader should know about. They warn; what must stop an evaluation raises elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from config.schema import Align, RoiSettings
from pipeline.catalog import Selection
from pipeline.records import FeatureSet, Roi, Role, Sequence, Side
from pipeline.result import QualityCheck

# With fewer grey levels texture says little; with more, co-occurrence matrices become sparse (PyRadiomics FAQ: 30-130).
MIN_GREY_LEVELS = 8
MAX_GREY_LEVELS = 256
# A region of at least so many slices with at most so many voxels each, so many times as high as wide, is no lesion.
COLUMN_SLICES = 8
COLUMN_VOXELS = 12
COLUMN_HEIGHT = 3.0


def grey_level_checks(measured: FeatureSet, side: Side | None) -> Iterable[QualityCheck]:
    """Grey-level bins per ROI and sequence, with a warning below 8 or above 256."""
    for name, levels in sorted(measured.grey_levels.items()):
        ok = MIN_GREY_LEVELS <= levels <= MAX_GREY_LEVELS
        yield QualityCheck(
            check=f"grey_levels.{name}" + (f".{side}" if side else ""),
            value=levels,
            limit=f"{MIN_GREY_LEVELS}..{MAX_GREY_LEVELS}",
            ok=ok,
            note="" if ok else f"{levels} grey-level bins: texture features of this ROI are of limited worth",
        )


def header_checks(chosen: Mapping[Sequence, Selection]) -> Iterable[QualityCheck]:
    """What in the headers of the images used was written against the standard: read all the same, or done without."""
    for name, selection in sorted(chosen.items()):
        frames = [*selection.frames, *(f for group in selection.frames_by_b.values() for f in group)]
        instances = {f.instance.ref.sop_instance_uid: f.instance.tags for f in frames}.values()
        for tag, note in (("decimal_comma", "read as numbers"), ("unreadable", "left out")):
            counts = Counter(word for tags in instances for word in _words(tags.get(tag)))
            if counts:
                counted = ", ".join(f"{keyword} in {count} images" for keyword, count in sorted(counts.items()))
                yield QualityCheck(check=f"headers.{name}.{tag}", value=counted, ok=True, note=note)


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


def place_checks(rois: Iterable[Roi]) -> Iterable[QualityCheck]:
    """What segmentations say of their frames' places against the images that they name as their source."""
    for segment in (s for roi in rois for s in roi.segments):
        for contradiction in segment.contradictions:
            yield QualityCheck(
                check=f"drawn_on.{contradiction.kind}.segment_{segment.number}",
                value=contradiction.value,
                limit=contradiction.limit,
                ok=contradiction.harmless,
                note=contradiction.text,
            )


def shape_checks(rois: Iterable[Roi]) -> Iterable[QualityCheck]:
    """Segments that are a thin column through many slices, as a damaged object leaves, each a failed check."""
    for segment in (s for roi in rois for s in roi.segments):
        box = segment.mask.box_zyx
        if box is None:
            continue
        planes = [plane for plane in segment.mask.voxels_zyx[box] if plane.any()]
        voxels = float(np.median([np.count_nonzero(plane) for plane in planes]))
        x, y, z = segment.mask.geometry.spacing_xyz_mm
        wide = float(np.median([max(np.ptp(p.nonzero()[0]) * y + y, np.ptp(p.nonzero()[1]) * x + x) for p in planes]))
        if len(planes) >= COLUMN_SLICES and voxels <= COLUMN_VOXELS and len(planes) * z > COLUMN_HEIGHT * wide:
            yield QualityCheck(
                check=f"shape.segment_{segment.number}",
                value=f"{len(planes)} slices of {voxels:g} voxels",
                limit=f"{COLUMN_HEIGHT:g} times as high as wide",
                ok=False,
                note=f"a column {len(planes) * z:.0f} mm high and {wide:.0f} mm wide: is the object damaged?",
            )


def distortion_checks(rois: Iterable[Roi], settings: RoiSettings) -> Iterable[QualityCheck]:
    """Regions drawn on diffusion images. These are distorted: on other images the region may lie beside the lesion."""
    for region in rois:
        if region.drawn_on == "adc":
            yield QualityCheck(
                check=f"drawn_on.{region.role}" + (f".{region.side}" if region.side else ""),
                value="DWI or ADC",
                limit="T1+C or T2",
                ok=settings.allow_drawn_on_dwi,
                note="drawn on diffusion images, which are distorted",
            )


def kept_volume_checks(
    shares: Mapping[tuple[Sequence, Role, Side | None], float], limits: Align
) -> Iterable[QualityCheck]:
    """How much of each ROI's volume survived resampling onto a coarser grid."""
    for (sequence, role, side), share in sorted(shares.items(), key=str):
        yield QualityCheck(
            check=f"kept_volume.{sequence}.{role}" + (f".{side}" if side else ""),
            value=round(share, 4),
            limit=f"{limits.min_kept_volume:g}..{limits.max_kept_volume:g}",
            ok=limits.min_kept_volume <= share <= limits.max_kept_volume,
        )
