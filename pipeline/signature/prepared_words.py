"""How each sequence was prepared for its features, in words for papers and checklists."""

from __future__ import annotations

from collections.abc import Callable

from config.schema import Features, SequenceFeatures
from pipeline.needs import SEQUENCE_TITLES
from pipeline.records import SEQUENCES

_WAYS = {
    "image": "z scores over the whole image",
    "body": "z scores over the body (Otsu's threshold)",
    "roi": "z scores over the region",
    "percentiles": "the body's 1st to 99th percentile as 0 to 1",
}


def intensities(features: Features) -> str:
    """Normalisation, as a phrase: `without normalisation of intensities`, or what was done to which sequence."""
    return _listed(features, _intensity, "without normalisation of intensities", "no other was normalised")


def grids(features: Features) -> str:
    """Resampling, as a phrase."""
    return _listed(features, _grid, "without resampling", "no other was resampled")


def bins(features: Features) -> str:
    """Discretisation, as a phrase."""
    usual = f"at a fixed bin width of {features.bin_width:g}"
    return _listed(features, _bins, usual, f"any other {usual}")


def _listed(features: Features, words: Callable[[SequenceFeatures], str], nothing: str, others: str) -> str:
    done = {name: text for name in SEQUENCES if (text := words(getattr(features, name)))}
    if not done:
        return nothing
    rest = "" if len(done) == len(SEQUENCES) else f"; {others}"
    return "; ".join(f"{SEQUENCE_TITLES[name]}: {text}" for name, text in done.items()) + rest


def _intensity(rule: SequenceFeatures) -> str:
    if rule.standardise == "none":
        return ""
    clip = f", cut off at {rule.clip:g} standard deviations" if rule.clip is not None else ""
    return f"{_WAYS[rule.standardise]}{clip}, times {rule.scale:g}"


def _grid(rule: SequenceFeatures) -> str:
    if rule.voxel_mm is None:
        return ""
    grid = ", grid and rounding as IBSI defines them" if rule.grid == "ibsi" else ""
    return f"resampled to cubes of {rule.voxel_mm:g} mm (cubic B-spline{grid})"


def _bins(rule: SequenceFeatures) -> str:
    if rule.bins is not None:
        return f"into {rule.bins} levels"
    return "" if rule.bin_width is None else f"at a fixed bin width of {rule.bin_width:g}"
