"""Paired tests of every feature over a cohort, before against after treatment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research import metrics
from pipeline.research.change.pairs import Pairs
from pipeline.signature import clustered
from pipeline.signature.names import is_feature

Test = Literal["t", "wilcoxon"]
LEVEL = 0.05
EXACT_PAIRS = 50
CLASSES = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")


@dataclass(frozen=True)
class Delta:
    """Paired tests, one row per feature.

    `features`: index feature; columns group, class, image, mean_before, mean_after, mean_change, effect_size (mean
    change / its standard deviation), statistic, p, q (Benjamini-Hochberg), direction ("up", "down" or ""). Features
    whose change is the same in all patients have no test: `untested`.
    """

    features: pd.DataFrame
    test: Test
    pairs: int
    untested: tuple[str, ...]

    @property
    def up(self) -> int:
        return int((self.features["direction"] == "up").sum())

    @property
    def down(self) -> int:
        return int((self.features["direction"] == "down").sum())

    def by_class(self) -> pd.DataFrame:
        """Counts per group and feature class, like Table 2 of Yu et al. 2021: group, class, features, up, down."""
        directions = self.features.groupby(["group", "class"], sort=False)["direction"]
        counts = directions.agg(features="size", up=lambda d: (d == "up").sum(), down=lambda d: (d == "down").sum())
        return counts.reset_index()


def delta(pairs: Pairs, test: Test = "t") -> Delta:
    """Paired t-test or Wilcoxon signed-rank test per feature, two-sided, P<0.05 uncorrected, as in the paper."""
    difference = pairs.after - pairs.before
    spread = difference.std(axis=0, ddof=1)
    scale = np.maximum(np.abs(pairs.before).max(axis=0), np.abs(pairs.after).max(axis=0))
    testable = spread > 1e-12 * np.maximum(scale, np.finfo(float).tiny)
    names = [c for c, ok in zip(pairs.columns, testable, strict=True) if ok]
    if not names:
        empty = pd.DataFrame(columns=["group", "class", "image", "direction"])
        return Delta(empty, test, len(pairs), pairs.columns)
    statistic, p = _tested(difference[:, testable], test)
    centre = difference[:, testable].mean(axis=0) if test == "t" else np.median(difference[:, testable], axis=0)
    significant = p < LEVEL
    frame = pd.DataFrame(
        {
            "group": [parts(name)[0] for name in names],
            "class": [parts(name)[1] for name in names],
            "image": [parts(name)[2] for name in names],
            "mean_before": pairs.before[:, testable].mean(axis=0),
            "mean_after": pairs.after[:, testable].mean(axis=0),
            "mean_change": difference[:, testable].mean(axis=0),
            "effect_size": difference[:, testable].mean(axis=0) / spread[testable],
            "statistic": statistic,
            "p": p,
            "q": stats.false_discovery_control(p),
            "direction": np.where(significant & (centre > 0), "up", np.where(significant & (centre < 0), "down", "")),
        },
        index=pd.Index(names, name="feature"),
    )
    untested = tuple(c for c, ok in zip(pairs.columns, testable, strict=True) if not ok)
    return Delta(frame, test, len(pairs), untested)


def _tested(difference: np.ndarray, test: Test) -> tuple[np.ndarray, np.ndarray]:
    if test == "wilcoxon":
        by_feature = np.array([_wilcoxon(column) for column in difference.T])
        return by_feature[:, 0], by_feature[:, 1]
    outcome = stats.ttest_1samp(difference, 0.0, axis=0)
    return np.asarray(outcome.statistic), np.asarray(outcome.pvalue)


def _wilcoxon(difference: np.ndarray) -> tuple[float, float]:
    """Wilcoxon's signed-rank statistic (the smaller sum of ranks) and two-sided P; pairs without a change are left out.

    Exact up to `EXACT_PAIRS` pairs, with midranks where changes are equally large; above by the normal distribution.
    """
    changed = difference[difference != 0]
    if len(changed) > EXACT_PAIRS:
        by_normal = stats.wilcoxon(changed, method="approx")
        return float(by_normal.statistic), float(by_normal.pvalue)
    twice = clustered.doubled_ranks(np.abs(changed))[0]
    signed = np.where(changed > 0, twice, -twice)
    return float(twice.sum() - abs(int(signed.sum()))) / 4, metrics.sign_flips(signed.astype(np.intp))


def parts(name: str) -> tuple[str, str, str]:
    """Group (`t1c.tumor`), feature class (`glcm`) and image (`wavelet-HLL`) of a feature; "other" where unknown."""
    if not is_feature(name):
        return re.sub(r"\d+$", "", name) or name, "other", "other"
    sequence, roi, rest = name.split(".", 2)
    image, _, tail = rest.partition("_")
    kind = tail.partition("_")[0]
    return f"{sequence}.{roi}", kind if kind in CLASSES else "other", image
