"""`reproduction.json` and `report.html`: what was published and what the tables give, side by side."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # Any: values of JSON

from pipeline.records import Json
from pipeline.research import html_tables
from pipeline.research.drawing import clustered_heatmap
from pipeline.research.reproduce import (
    appendix_signatures,
    clinical_subgroups,
    findings,
    irregularities,
    paper_figures,
    released_tables,
)
from pipeline.research.reproduce.appendix_signatures import Appendix
from pipeline.research.reproduce.findings import EXPLANATION
from pipeline.research.reproduce.irregularities import Irregularity
from pipeline.research.reproduce.released_tables import COHORTS, SOURCE, Tables
from pipeline.signature.whole_files import write_atomically

_PAPER = "Yu et al., EBioMedicine 2021, doi 10.1016/j.ebiom.2021.103460"
_STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 74rem; margin: 2rem auto; padding: 0 1.2rem;
       color: #222 }
h2 { margin-top: 2.6rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .9rem .3rem 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td.bad { color: #b00020; font-weight: 600 }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.row figure { flex: 1 1 24rem; max-width: 36rem }
figure { margin: 0 } img { max-width: 100%; height: auto }
figcaption { color: #555; font-size: 13px }
.loud { background: #fdecea; border-left: 6px solid #b00020; padding: .8rem 1.2rem }
li { margin: .35rem 0 } code { font-size: 90% } .where { color: #555 }
"""


@dataclass(frozen=True)
class Reproduction:
    """Everything found. `facts` is `reproduction.json`."""

    tables: Tables
    signatures: dict[str, findings.Signature]
    correlations: dict[str, findings.Correlation]
    irregularities: list[Irregularity]
    appendix: Appendix
    facts: dict[str, Json]


def reproduce(folder: Path) -> Reproduction:
    """Read the paper's tables in `folder` and work all figures out.

    Raises InputRejected: a table is missing or is not what the paper released.
    """
    read = released_tables.load(folder)
    signatures = {"aln_tumour": findings.signature(read.fig2b), "multiomic": findings.signature(read.fig2c)}
    correlations = findings.correlations(read)
    listed = irregularities.find(read, signatures)
    appendix = appendix_signatures.appendix(read)
    facts: dict[str, Json] = {
        "schema": "axrad.reproduction/1",
        "paper": _PAPER,
        "tables": dict(read.digests),
        "fig2b": findings.fig2bc(signatures["aln_tumour"], "fig2b"),
        "fig2c": findings.fig2bc(signatures["multiomic"], "fig2c"),
        "fig2d": findings.fig2d(read, signatures),
        "fig4": findings.fig4(read),
        "fig5": findings.fig5(correlations),
        "subgroups": clinical_subgroups.by_clinical(read, signatures),
        "appendix": {**appendix.facts, "missing": [clinical_subgroups.NOT_FIG_3, *appendix_signatures.MISSING]},
        "irregularities": [asdict(irregularity) for irregularity in listed],
    }
    return Reproduction(read, signatures, correlations, listed, appendix, facts)


def write(reproduction: Reproduction, folder: Path) -> None:
    """Write `reproduction.json` and `report.html` into `folder` (made if missing)."""
    text = json.dumps(reproduction.facts, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "reproduction.json", text.encode())
    write_atomically(folder / "report.html", page(reproduction).encode())


def comparison(facts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows (what, published, reproduced with one positive class, reproduced as published)."""
    rows = []
    for figure, name in (("fig2b", "Fig 2B ALN-tumour"), ("fig2c", "Fig 2C multiomic")):
        for cohort in COHORTS:
            values = facts[figure][cohort]
            rows.append(
                (
                    f"{name}, AUC {cohort.replace('_', '-')} (n={values['n']})",
                    f"{values['published']:.2f}",
                    f"{values['one_positive_class']:.3f} ({values['ci'][0]:.3f} to {values['ci'][1]:.3f})",
                    f"{values['as_published']:.3f}",
                )
            )
    for name, label in (("aln_tumour", "ALN-tumour"), ("multiomic", "multiomic")):
        values = facts["fig2d"][name]
        rows.append(
            (
                f"Fig 2D {label}, cutoff (Youden, training)",
                f"{values['published_cutoff']:.3f}",
                f"{values['cutoff']:.3f}",
                "",
            )
        )
        rows.append((f"Fig 2D {label}, r with the published score", "", f"{values['r_score']:.5f}", ""))
    change = facts["fig4"]
    rows.append(("Fig 4, features up after treatment (P<0.05)", str(change["published_up"]), str(change["up"]), ""))
    rows.append(
        ("Fig 4, features down after treatment (P<0.05)", str(change["published_down"]), str(change["down"]), "")
    )
    return rows


def page(reproduction: Reproduction) -> str:
    """One HTML document: no script, no file beside it, nothing from the network."""
    body = [
        "<h1>The published tables, reproduced</h1>",
        f"<p>{html.escape(_PAPER)}. Tables: {html.escape(SOURCE)}. None of these numbers is a claim of axrad's.</p>",
        f'<div class="loud"><b>In one sentence.</b> {html.escape(EXPLANATION)}</div>',
        "<h2>Published and reproduced</h2>",
        _table(("", "published", "one positive class (95 % CI)", "as published"), comparison(reproduction.facts)),
        _method(reproduction.facts),
        "<h2>Irregularities of the tables</h2>",
        _list(reproduction.irregularities),
        *_figures(reproduction),
        *_subgroups(reproduction.facts),
        *_appendix(reproduction.facts, reproduction.appendix),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The published tables, reproduced</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _method(facts: dict[str, Any]) -> str:
    cv = {figure: facts[figure]["cross_validation_in_training"] for figure in ("fig2b", "fig2c")}
    plain = ", ".join(f"{facts['fig2b'][c]['not_standardised']:.3f}" for c in COHORTS)
    return (
        "<p>Support vector machine with radial kernel, C=1, gamma=1/p, columns standardised with the training cohort's "
        "mean and sample standard deviation (as R's e1071 does), positive class R = node-positive, complete cases. "
        f"Without standardising again the AUCs of Fig 2B would be {plain} (training, prospective-retrospective, "
        f"external). Five-fold cross-validation inside training (10 repeats) on the columns as selected gives "
        f"{cv['fig2b']['auc']:.2f} ± {cv['fig2b']['sd']:.2f} for the ALN-tumour and {cv['fig2c']['auc']:.2f} ± "
        f"{cv['fig2c']['sd']:.2f} for the multiomic signature; the selection had seen every patient, so even "
        "this is too good.</p>"
    )


def _figures(reproduction: Reproduction) -> Iterable[str]:
    yield "<h2>Fig 2A: the 180 features of the training cohort</h2>"
    yield _figure(
        paper_figures.grouped_heatmap(reproduction.tables.fig2a_features, reproduction.tables.fig2a_groups),
        "T: tumour, L: lymph nodes.",
    )
    for figure, name, label in (("2B", "aln_tumour", "ALN-tumour"), ("2C", "multiomic", "multiomic")):
        signature = reproduction.signatures[name]
        yield f"<h2>Fig {figure}: ROC of the {label} signature</h2><div class='row'>"
        published = paper_figures.roc(signature, as_published=True, title="As published")
        yield _figure(published, "Validation cohorts scored with the probability of the other class (N).")
        honest = paper_figures.roc(signature, as_published=False, title="One positive class (R) everywhere")
        yield _figure(honest, "The same model and the same patients.")
        yield "</div>"
    yield "<h2>Fig 2D: decision curve, training cohort</h2>"
    yield _figure(
        paper_figures.decision_curve(findings.decision_curves(reproduction.tables)),
        "Published scores; radiologists: clinical N from 1.",
    )
    yield "<h2>Fig 4: before and after neoadjuvant chemotherapy</h2><div class='row'>"
    yield _figure(
        clustered_heatmap(reproduction.tables.before, "Before"), "4A: before. Rows features, columns patients."
    )
    yield _figure(clustered_heatmap(reproduction.tables.after, "After"), "4B: after.")
    yield "</div>" + _change(reproduction.facts)
    yield "<h2>Fig 5: features and the tumour's microenvironment (TCGA)</h2>"
    names = {"immune_cells": "Immune cells", "lncrna": "Long non-coding RNA", "methylation": "Methylation"}
    for key, correlation in reproduction.correlations.items():
        yield _figure(
            paper_figures.correlation_heatmap(correlation, names[key]), _correlation_caption(reproduction.facts, key)
        )


def _subgroups(whole: dict[str, Json]) -> Iterable[str]:
    yield (
        "<h2>Subgroups</h2><p>AUC of both signatures by the released clinical columns, one positive class; the meaning "
        "of their codes was not released. Training patients are those that the signatures were fitted to. Of a level "
        f"with fewer than {clinical_subgroups.LEAST_PER_CLASS} patients of a class there is none.</p>"
    )
    rows = [
        (
            f"{r['cohort']}".replace("_", "-"), str(r["column"]), str(r["level"]), f"{r['n']} ({r['positive']} R)",
            html_tables.interval(r["aln_tumour"]), html_tables.interval(r["multiomic"]),
        )
        for r in html_tables.rows(whole["subgroups"])
    ]  # fmt: skip
    yield _table(("cohort", "column", "level", "patients", "ALN-tumour", "multiomic"), rows)


def _appendix(whole: dict[str, Any], appendix: Appendix) -> Iterable[str]:
    facts = whole["appendix"]
    yield "<h2>The appendix</h2><p>AUC of signatures of each block of released columns, one positive class:</p>"
    rows = [
        (name, str(v["columns"]), *(f"{v[c]['auc']:.3f}" for c in COHORTS), f"{v['cross_validated']:.3f}")
        for name, v in facts["signatures"].items()
    ]
    heads = ("signature", "columns", *(c.replace("_", "-") for c in COHORTS), "cross-validated in training")
    yield _table(heads, rows)
    yield (
        f"<p>Calls on {facts['n']} training patients, to whom the signatures were fitted; cutoffs by Youden, "
        "radiologists from clinical N 1 on.</p>"
    )
    measures = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
    shown = [(c["name"], *("" if c[m] is None else f"{c[m]:.3f}" for m in measures)) for c in facts["calls"]]
    yield _table(("calls", *measures), shown)
    tests = [
        (t["a"], t["b"], f"{t['p']:.2g}", f"{t['p_holm']:.2g}") for t in facts["mcnemar"] if t["measure"] == "accuracy"
    ]
    yield "<p>McNemar's exact test of accuracy:</p>" + _table(("a", "b", "P", "Holm's P, all measures"), tests)
    yield _figure(appendix_signatures.sankey(appendix), "Who is classified right by ALN, tumour, both, neither.")
    items = "".join(f"<li>{html.escape(text)}</li>" for text in facts["missing"])
    yield f"<p>Not in the tables:</p><ul>{items}</ul>"


def _change(facts: dict[str, Any]) -> str:
    rows = [(g, str(v["features"]), str(v["up"]), str(v["down"])) for g, v in facts["fig4"]["by_group"].items()]
    rows.append(("all", "180", str(facts["fig4"]["up"]), str(facts["fig4"]["down"])))
    return "<p>Paired t-test, P&lt;0.05, uncorrected:</p>" + _table(("columns", "features", "up", "down"), rows)


def _correlation_caption(facts: dict[str, Any], key: str) -> str:
    values = facts["fig5"][key]
    return (
        f"Dots: P<0.05, {values['p_below_0_05']} of {values['features'] * values['markers']} "
        f"({values['expected_by_chance']} expected by chance); {values['significant_at_fdr_5_percent']} remain at a "
        "false discovery rate of 5 %."
    )


def _list(listed: list[Irregularity]) -> str:
    items = (f'<li>{html.escape(i.what)} <span class="where">[{html.escape(i.where)}]</span></li>' for i in listed)
    return f"<ol>{''.join(items)}</ol>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    top = "".join(f'<th class="{"n" if n else ""}">{html.escape(cell)}</th>' for n, cell in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if n else ""}">{html.escape(cell)}</td>' for n, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
