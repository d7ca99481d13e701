"""A family written out: one file per member, `family.json`, and one HTML page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.records import Json
from pipeline.research import html_tables
from pipeline.research.families import metrics_table
from pipeline.research.families.facts import facts, file_name
from pipeline.research.families.train_family import TrainedFamily
from pipeline.research.tables.reading import csv_of
from pipeline.signature import container
from pipeline.signature.family import FILE, as_json
from pipeline.signature.whole_files import write_atomically

_NAMES = {"t1c": "T1+C", "t2": "T2", "adc": "ADC", "tumor": "tumour", "lymph_nodes": "nodes"}
_STYLE = """
body { max-width: 90rem }
th { vertical-align: bottom } td.yes { background: #dce9f7; text-align: center }
.members td, .members th { padding: .3rem .45rem } .members td { white-space: nowrap }
.members td.why { white-space: normal; min-width: 9rem }
td.no { color: #bbb; text-align: center } .bar { background: #eee; width: 8rem; height: .9rem; position: relative }
.bar i, .bar b, .bar u { position: absolute; top: 0; height: 100% }
.bar i { background: #9db8d6 } .bar b { width: 2px; background: #123 } .bar u { width: 1px; background: #999 }
"""


def write_family(family: TrainedFamily, folder: Path) -> dict[str, Json]:
    """Write everything into `folder`; `family.json` last, so that what it names is there. Returns its content."""
    content = facts(family)
    for member in family.members:
        container.save(member.signature, folder / file_name(member.signature))
    if family.clinical_alone is not None:
        alone = family.clinical_alone.signature
        container.save(alone, folder / file_name(alone))
    for name, frame in _frames(content).items():
        write_atomically(folder / f"{name}.csv", csv_of(frame))
    write_atomically(folder / "report.html", page(content).encode())
    write_atomically(folder / FILE, as_json(content))
    return content


def _frames(content: Mapping[str, Json]) -> dict[str, pd.DataFrame]:
    compared = content["comparison"]
    assert isinstance(compared, dict)
    return metrics_table.frames(compared) if "metrics" in compared else {}


def page(content: Mapping[str, Json]) -> str:
    """The report as one HTML document: no script, no file beside it, nothing from the network."""
    title = html.escape(f"{content['name']}@{content['version']}")
    loud = (
        '<p class="loud">DEMONSTRATION: trained on synthetic exams. Its results mean nothing for a patient.</p>'
        if content["demonstration"]
        else ""
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Family {title}</title>'
        f"<style>{html_tables.STYLE}{_STYLE}</style></head><body><h1>Family of signatures {title}</h1>{loud}"
        f"<p>Positive class: <b>{html.escape(str(content['positive_class']))}</b> (<code>"
        f"{html.escape(str(content['label_column']))} = {html.escape(str(content['positive_value']))}</code>), "
        f"everywhere. {content['exams']} exams in the table "
        f"<code>{html.escape(str(content['table_sha256']))[:12]}</code>.</p>"
        "<p>Members are asked in this order: the first whose inputs an exam has answers. What it abstains from stays "
        "unanswered. Each was trained and cross-validated (nested: selection, fit and cutoff inside the folds) on the "
        "exams that have all it reads.</p>"
        f"<h2>Members</h2>{_members(content)}{_comparison(content)}{_left_out(content)}</body></html>\n"
    )


def _members(content: Mapping[str, Json]) -> str:
    members = html_tables.rows(content["members"])
    groups = [f"{s}.{r}" for s in ("t1c", "t2", "adc") for r in ("tumor", "lymph_nodes")]
    groups = [g for g in groups if any(g in _texts(m["reads"]) for m in members)]
    heads = "".join(f"<th>{'<br>'.join(_NAMES[part] for part in g.split('.'))}</th>" for g in groups)
    clinical = "<th>clinical</th>" if any(m["clinical"] for m in members) else ""
    lines = []
    for number, member in enumerate(members, 1):
        reads, judged = _texts(member["reads"]), member["nested_cv"]
        assert isinstance(judged, dict)
        cells = "".join(_mark(g in reads) for g in groups)
        cells += f"<td>{html.escape(', '.join(_texts(member['clinical'])))}</td>" if clinical else ""
        lines.append(
            f'<tr><td class="n">{number}</td><td>{html.escape(str(member["name"]))}</td>{cells}'
            f'<td class="n">{member["n"]}</td><td class="n">{member["positives"]}</td>'
            f'<td class="why">{_incomplete(member)}</td><td class="n">{member["features"]}</td>'
            f"<td>{_estimate(judged)}</td><td>{_bar(judged)}</td></tr>"
        )
    return (
        f'<table class="members"><tr><th></th><th>signature</th>{heads}{clinical}<th>exams</th><th>positive</th>'
        "<th>incomplete exams</th><th>features</th><th>nested AUC<br>(95 % interval)</th><th>0.3 to 1</th></tr>"
        f"{''.join(lines)}</table>"
    )


def _comparison(content: Mapping[str, Json]) -> str:
    compared = content["comparison"]
    assert isinstance(compared, dict)
    counts = f"{compared['n']} exams, {compared['positives']} positive"
    title = "<h2>What a missing sequence or region costs</h2>"
    if "why_not" in compared:
        return f"{title}<p>Not compared: {html.escape(str(compared['why_not']))} ({counts}).</p>"
    first, *others = html_tables.rows(compared["members"])
    if not others:
        return ""
    lines: list[list[Json]] = [[first["name"], _estimate(first), "", ""]]
    for row in others:
        without = ", ".join(_group(text) for text in _texts(row["without"]))
        lines.append([row["name"], _estimate(row), html_tables.interval(row["auc_difference"]), without])
    heads = ["signature", "nested AUC", f"minus that of {first['name']}", "what it does without"]
    calls = html_tables.reclassification(str(first["name"]), [(str(row["name"]), row) for row in others])
    return (
        f"{title}<p>All on the same {counts}: those that every member reads. Intervals at 95 %.</p>"
        f"{html_tables.table(heads, lines)}<h2>Who would be called otherwise</h2><p>High or low at each one's own "
        "cutoff, on held-out exams (first repeat). Net per class: share moved to the right call minus share moved to "
        "the wrong one; NRI is their sum, negative where calls get worse.</p>"
        f"{calls}{_metrics(compared)}"
    )


def _metrics(compared: Mapping[str, Json]) -> str:
    if "metrics" not in compared:
        return ""
    where = (
        f"The same {compared['n']} exams, held out: AUCs are means over folds and repeats, calls those of the first "
        "repeat."
    )
    return metrics_table.section(compared, "by Nadeau and Bengio's corrected t over the same folds", where)


def _left_out(content: Mapping[str, Json]) -> str:
    left_out = html_tables.rows(content["left_out"])
    if not left_out:
        return ""
    items = "".join(f"<li><b>{html.escape(str(r['name']))}</b>: {html.escape(str(r['why']))}</li>" for r in left_out)
    return f"<h2>Left out</h2><ul>{items}</ul>"


def _incomplete(member: Mapping[str, Json]) -> str:
    by_group = member["incomplete_by_group"]
    assert isinstance(by_group, dict)
    lacking = "; ".join(f"{n} without {name}" for name, n in _by_sequence(by_group).items())
    return html.escape(f"{member['incomplete_exams']}" + (f" ({lacking})" if lacking else ""))


def _by_sequence(by_group: Mapping[str, Json]) -> dict[str, Json]:
    """Counts by group; by sequence where its groups are lacking equally often."""
    counts: dict[str, Json] = {}
    for group, n in by_group.items():
        sequence = group.split(".")[0]
        same = [other for g, other in by_group.items() if g.split(".")[0] == sequence]
        counts[_NAMES[sequence] if len(same) > 1 and len(set(map(str, same))) == 1 else _group(group)] = n
    return counts


def _group(text: str) -> str:
    return " ".join(_NAMES.get(part, part) for part in text.split("."))


def _estimate(row: Mapping[str, Json]) -> str:
    return html_tables.interval({"value": row["auc"], "ci": row["ci"]})


def _bar(row: Mapping[str, Json]) -> str:
    """The interval on a scale from 0.3 to 1; the thin line is chance, 0.5."""
    ends = row["ci"]
    assert isinstance(ends, list)
    low, high, value = (_at(v) for v in (*ends, row["auc"]))
    return (
        f'<div class="bar"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<u style="left:{_at(0.5):.1f}%"></u><b style="left:{value:.1f}%"></b></div>'
    )


def _at(value: Json) -> float:
    assert isinstance(value, float)
    return 100 * (min(1.0, max(0.3, value)) - 0.3) / 0.7


def _mark(reads: bool) -> str:
    return '<td class="yes">✓</td>' if reads else '<td class="no">–</td>'


def _texts(texts: Json) -> list[str]:
    assert isinstance(texts, list)
    return [str(text) for text in texts]
