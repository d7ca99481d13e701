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
from pipeline.research.change.responders import Responders
from pipeline.research.drawing import clustered_heatmap
from pipeline.research.html_tables import table
from pipeline.research.tables.reading import csv_of
from pipeline.signature.whole_files import write_atomically

_STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 74rem; margin: 2rem auto; padding: 0 1.2rem;
       color: #222 }
table { border-collapse: collapse } th, td { border-bottom: 1px solid #ddd; padding: .25rem .9rem .25rem 0 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { text-align: left }
.row { display: flex; flex-wrap: wrap; gap: 1rem } .row figure { flex: 1 1 24rem; max-width: 36rem; margin: 0 }
img { max-width: 100% } figcaption { color: #555; font-size: 13px }
"""
_SHOWN = ("median_responders", "median_others", "responder_larger", "p", "q")
_NAMES = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}


def facts(delta: Delta, pairs: Pairs, compared: Responders | None = None) -> dict[str, Json]:
    """`delta.json`."""
    return {
        "schema": "axrad.cohort-delta/1",
        "test": _NAMES[delta.test],
        "level": LEVEL,
        "pairs": delta.pairs,
        "unpaired": {"before": pairs.unpaired_before, "after": pairs.unpaired_after},
        "incomplete": pairs.incomplete,
        "tables": {"before": pairs.digests[0], "after": pairs.digests[1]},
        "features": len(pairs.columns),
        "up": delta.up,
        "down": delta.down,
        "significant_at_fdr_5_percent": int((delta.features["q"] < LEVEL).sum()) if len(delta.features) else 0,
        "untested": list(delta.untested),
        "classes": [
            {"group": str(r["group"]), "class": str(r["class"]), "features": int(r["features"]), "up": int(r["up"]),
             "down": int(r["down"])}
            for r in delta.by_class().to_dict("records")
        ],
        **({} if compared is None else {"responders": _responders_facts(compared)}),
    }  # fmt: skip


def _responders_facts(compared: Responders) -> dict[str, Json]:
    moments: dict[str, Json] = {}
    for moment in () if compared.why_not else ("before", "change"):
        below, by_chance, discoveries = compared.below(moment)
        moments[moment] = {"p_below_0_05": below, "by_chance": by_chance, "q_below_0_05": discoveries}
    return {
        "responders": [*compared.values],
        "n_responders": compared.responders,
        "n_others": compared.others,
        "without_response": compared.untold,
        "test": "rank sum, exact up to 60 patients",
        "least_possible_p": compared.least_p,
        "why_not": compared.why_not or None,
        **moments,
    }


def write(delta: Delta, pairs: Pairs, folder: Path, compared: Responders | None = None) -> None:
    """Write everything into `folder` (made if missing). No file holds a patient's id."""
    if compared is not None and not compared.why_not:
        write_atomically(folder / "responders.csv", csv_of(compared.table.sort_values("p", kind="stable")))
    summary = json.dumps(facts(delta, pairs, compared), indent=1, allow_nan=False)
    write_atomically(folder / "delta.json", summary.encode())
    write_atomically(folder / "features.csv", csv_of(delta.features, index=True))
    write_atomically(folder / "classes.csv", csv_of(delta.by_class()))
    write_atomically(folder / "report.html", page(delta, pairs, compared).encode())


def page(delta: Delta, pairs: Pairs, compared: Responders | None = None) -> str:
    """One HTML document that needs nothing else."""
    summary = facts(delta, pairs)
    notes = [
        f"{delta.pairs} pairs; {_NAMES[delta.test]} per feature, P<{LEVEL} uncorrected: {delta.up} up, {delta.down} "
        f"down of {len(pairs.columns)}. At a false discovery rate of 5 %: {summary['significant_at_fdr_5_percent']}.",
        f"Without a partner: {pairs.unpaired_before} before, {pairs.unpaired_after} after. Left out for empty cells: "
        f"{pairs.incomplete}. Not testable (same change in everyone): {len(delta.untested)}.",
    ]
    body = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Change over treatment</title>'
        f"<style>{_STYLE}</style></head><body><h1>Change over treatment</h1>{body}"
        f"<h2>By feature class</h2>{_class_table(delta.by_class())}<h2>Heatmaps</h2>{_heatmaps(delta, pairs)}"
        f"{'' if compared is None else _responders(compared)}</body></html>"
    )


def _responders(compared: Responders) -> str:
    head = (
        f"<h2>Responders against the others</h2><p>{compared.responders} responders "
        f"({html.escape(', '.join(compared.values))}), {compared.others} others; {compared.untold} pairs tell no "
        "response and are left out. "
    )
    if compared.why_not:
        return f"{head}{html.escape(compared.why_not)}.</p>"
    counts = []
    for moment in ("before", "change"):
        below, by_chance, discoveries = compared.below(moment)
        counts.append(
            f"{moment}: {below} features with P < 0.05 (by chance {by_chance:.0f}), {discoveries} with q < 0.05"
        )
    lines: list[list[Json]] = [
        [str(r["moment"]), str(r["feature"]), *(float(r[c]) for c in _SHOWN)]
        for r in compared.table.nsmallest(20, "p").to_dict("records")
    ]
    heads = ["", "feature", "median, responders", "median, others", "a responder has the larger value", "P", "q"]
    return (
        f"{head}Rank test over all ways to deal out the ranks (up to 60 patients); the smallest P that "
        f"groups of these sizes can have is {compared.least_p:.2g}. "
        f"{'; '.join(counts)}. q is over the "
        f"features of a moment.</p>{table(heads, lines)}"
        "<p>The 20 smallest P; all are in responders.csv.</p>"
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


def _heatmaps(delta: Delta, pairs: Pairs) -> str:
    """The features with the smallest P before and after, z-scored with the statistics before treatment."""
    names = list(delta.features["p"].nsmallest(180).index) if len(delta.features) else []
    spread = dict(zip(pairs.columns, pairs.before.std(axis=0, ddof=1), strict=True))
    names = [name for name in names if spread[name] > 0]
    if len(names) < 2:
        return "<p>Too few features to draw.</p>"
    where = [pairs.columns.index(name) for name in names]
    mean, deviation = pairs.before[:, where].mean(axis=0), pairs.before[:, where].std(axis=0, ddof=1)
    pictures = []
    for title, values in (("Before treatment", pairs.before), ("After treatment", pairs.after)):
        frame = pd.DataFrame((values[:, where] - mean) / deviation, columns=names)
        picture = clustered_heatmap(frame.replace([np.inf, -np.inf], np.nan), title)
        pictures.append(f"<figure>{picture}<figcaption>{title}. Rows features, columns patients.</figcaption></figure>")
    return f'<div class="row">{"".join(pictures)}</div>'
