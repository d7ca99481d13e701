"""Checks of the input that a reader should know about. They warn; what must stop an evaluation raises elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from config.schema import Align
from pipeline.records import FeatureSet, Roi, Role, Sequence, Side
from pipeline.result import QualityCheck

# With fewer grey levels texture says little; with more, co-occurrence matrices become sparse (PyRadiomics FAQ: 30-130).
MIN_GREY_LEVELS = 8
MAX_GREY_LEVELS = 256


def grey_level_checks(found: FeatureSet, side: Side | None) -> Iterable[QualityCheck]:
    """Grey-level bins per ROI and sequence, with a warning below 8 or above 256."""
    for name, levels in sorted(found.grey_levels.items()):
        ok = MIN_GREY_LEVELS <= levels <= MAX_GREY_LEVELS
        yield QualityCheck(
            check=f"grey_levels.{name}" + (f".{side}" if side else ""),
            value=levels,
            limit=f"{MIN_GREY_LEVELS}..{MAX_GREY_LEVELS}",
            ok=ok,
            note="" if ok else f"{levels} grey-level bins: texture features of this ROI are of limited worth",
        )


def place_checks(rois: Iterable[Roi]) -> Iterable[QualityCheck]:
    """What segmentations say of their frames' places against the images that they name as their source."""
    for segment in (s for roi in rois for s in roi.segments):
        for found in segment.contradictions:
            yield QualityCheck(
                check=f"drawn_on.{found.kind}.segment_{segment.number}",
                value=found.value,
                limit=found.limit,
                ok=found.harmless,
                note=found.text,
            )


def kept_volume_checks(
    kept: Mapping[tuple[Sequence, Role, Side | None], float], limits: Align
) -> Iterable[QualityCheck]:
    """How much of each ROI's volume survived resampling onto a coarser grid."""
    for (sequence, role, side), share in sorted(kept.items(), key=str):
        yield QualityCheck(
            check=f"kept_volume.{sequence}.{role}" + (f".{side}" if side else ""),
            value=round(share, 4),
            limit=f"{limits.min_kept_volume:g}..{limits.max_kept_volume:g}",
            ok=limits.min_kept_volume <= share <= limits.max_kept_volume,
        )
