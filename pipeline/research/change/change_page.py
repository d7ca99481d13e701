"""A cohort's change written out: `delta.json`, `features.csv`, `classes.csv`, and one HTML page."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.records import Json
from pipeline.research.change.paired_tests import LEVEL, Delta
from pipeline.research.change.pairs import Pairs
from pipeline.research.drawing import clustered_heatmap

_STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 74rem; margin: 2rem auto; padding: 0 1.2rem;
       color: #222 }
table { border-collapse: collapse } th, td { border-bottom: 1px solid #ddd; padding: .25rem .9rem .25rem 0 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { text-align: left }
.row { display: flex; flex-wrap: wrap; gap: 1rem } .row figure { flex: 1 1 24rem; max-width: 36rem; margin: 0 }
img { max-width: 100% } figcaption { color: #555; font-size: 13px }
"""
_NAMES = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}


def facts(found: Delta, pairs: Pairs) -> dict[str, Json]:
    """`delta.json`."""
    return {
        "schema": "axrad.cohort-delta/1",
        "test": _NAMES[found.test],
        "level": LEVEL,
        "pairs": found.pairs,
        "unpaired": {"before": pairs.unpaired_before, "after": pairs.unpaired_after},
        "incomplete": pairs.incomplete,
        "tables": {"before": pairs.digests[0], "after": pairs.digests[1]},
        "features": len(pairs.columns),
        "up": found.up,
        "down": found.down,
        "significant_at_fdr_5_percent": int((found.features["q"] < LEVEL).sum()) if len(found.features) else 0,
        "untested": list(found.untested),
        "classes": [
            {"group": str(r["group"]), "class": str(r["class"]), "features": int(r["features"]), "up": int(r["up"]),
             "down": int(r["down"])}
            for r in found.by_class().to_dict("records")
        ],
    }  # fmt: skip


def write(found: Delta, pairs: Pairs, folder: Path) -> None:
    """Write everything into `folder` (made if missing). No file holds a patient's id."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "delta.json").write_text(json.dumps(facts(found, pairs), indent=1, allow_nan=False), encoding="utf-8")
    found.features.to_csv(folder / "features.csv", lineterminator="\n")
    found.by_class().to_csv(folder / "classes.csv", index=False, lineterminator="\n")
    (folder / "report.html").write_text(page(found, pairs), encoding="utf-8")


def page(found: Delta, pairs: Pairs) -> str:
    """One HTML document that needs nothing else."""
    summary = facts(found, pairs)
    notes = [
        f"{found.pairs} pairs; {_NAMES[found.test]} per feature, P<{LEVEL} uncorrected: {found.up} up, {found.down} "
        f"down of {len(pairs.columns)}. At a false discovery rate of 5 %: {summary['significant_at_fdr_5_percent']}.",
        f"Without a partner: {pairs.unpaired_before} before, {pairs.unpaired_after} after. Left out for empty cells: "
        f"{pairs.incomplete}. Not testable (same change in everyone): {len(found.untested)}.",
    ]
    body = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Change over treatment</title>'
        f"<style>{_STYLE}</style></head><body><h1>Change over treatment</h1>{body}"
        f"<h2>By feature class</h2>{_class_table(found.by_class())}<h2>Heatmaps</h2>{_heatmaps(found, pairs)}"
        "</body></html>"
    )


def _class_table(counts: pd.DataFrame) -> str:
    """Rows: feature classes; per group three columns: number of features, up, down."""
    groups = list(dict.fromkeys(counts["group"]))
    cells = {(r["group"], r["class"]): r for r in counts.to_dict("records")}
    head = "".join(f'<th class="n" colspan="3">{html.escape(str(g))}</th>' for g in groups)
    second = '<th class="n">n</th><th class="n">up</th><th class="n">down</th>' * len(groups)
    rows = []
    for kind in dict.fromkeys(counts["class"]):
        values = [cells.get((group, kind), {}).get(key, "") for group in groups for key in ("features", "up", "down")]
        numbers = "".join(f'<td class="n">{value}</td>' for value in values)
        rows.append(f"<tr><td>{html.escape(str(kind))}</td>{numbers}</tr>")
    return f"<table><tr><th></th>{head}</tr><tr><th></th>{second}</tr>{''.join(rows)}</table>"


def _heatmaps(found: Delta, pairs: Pairs) -> str:
    """The features with the smallest P before and after, z-scored with the statistics before treatment."""
    shown = list(found.features["p"].nsmallest(180).index) if len(found.features) else []
    spread = dict(zip(pairs.columns, pairs.before.std(axis=0, ddof=1), strict=True))
    shown = [name for name in shown if spread[name] > 0]
    if len(shown) < 2:
        return "<p>Too few features to draw.</p>"
    where = [pairs.columns.index(name) for name in shown]
    mean, deviation = pairs.before[:, where].mean(axis=0), pairs.before[:, where].std(axis=0, ddof=1)
    pictures = []
    for title, values in (("Before treatment", pairs.before), ("After treatment", pairs.after)):
        frame = pd.DataFrame((values[:, where] - mean) / deviation, columns=shown)
        picture = clustered_heatmap(frame.replace([np.inf, -np.inf], np.nan), title)
        pictures.append(f"<figure>{picture}<figcaption>{title}. Rows features, columns patients.</figcaption></figure>")
    return f'<div class="row">{"".join(pictures)}</div>'
