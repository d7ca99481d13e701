"""Ordered levels written out: one signature file per question, `levels.json`, CSV tables and one HTML page."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pandas as pd

from pipeline.records import Json
from pipeline.research import calibration, html_tables
from pipeline.research.levels.joint import Joint
from pipeline.research.levels.train_levels import Question, TrainedLevels
from pipeline.research.metrics import Interval
from pipeline.research.tables.reading import csv_of, sha256_of
from pipeline.signature import container
from pipeline.signature.family import LEVELS
from pipeline.signature.whole_files import write_atomically

SCHEMA = "axrad.levels/1"
RESEARCH = "FOR RESEARCH ALONE: signatures of ordered levels can never be active or a shadow, and answer no exam."


def write_levels(trained: TrainedLevels, folder: Path) -> dict[str, Json]:
    """Write everything into `folder`; `levels.json` last. Returns its content."""
    content = facts(trained)
    for question in trained.questions:
        container.save(question.signature, folder / _file(question))
    for joint in trained.joint:
        frame = pd.DataFrame(joint.confusion, trained.levels, trained.levels).rename_axis("true level, called →")
        write_atomically(folder / f"confusion_{joint.name.replace(' ', '_')}.csv", csv_of(frame.reset_index()))
    write_atomically(folder / "report.html", page(trained, content).encode())
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / LEVELS, (text + "\n").encode())
    return content


def facts(trained: TrainedLevels) -> dict[str, Json]:
    """`levels.json`."""
    counts: dict[str, Json] = {level: int((trained.numbers == k).sum()) for k, level in enumerate(trained.levels)}
    return {
        "schema": SCHEMA,
        "research_only": True,
        "name": trained.identity.name,
        "version": trained.identity.version,
        "label_column": trained.table.label_column,
        "table_sha256": trained.table.sha256,
        "levels": counts,
        "incomplete_cases_left_out": trained.incomplete,
        "questions": [_question(one) for one in trained.questions],
        "left_out": {**trained.left_out},
        "answers": [_joint(one, trained.levels) for one in trained.joint],
    }


def page(trained: TrainedLevels, content: dict[str, Json]) -> str:
    """The report as one HTML document: no script, no file beside it, nothing from the network."""
    title = html.escape(f"{trained.identity.name}@{trained.identity.version}")
    counts = content["levels"]
    assert isinstance(counts, dict)
    levels = ", ".join(f"{html.escape(level)} {count}" for level, count in counts.items())
    lines: list[list[Json]] = []
    for row in html_tables.rows(content["questions"]):
        fitted: list[Json] = [html_tables.interval(row[key]) for key in ("auc", "calibration_slope", "brier")]
        lines.append([row["positive"], row["negative"], row["positives"], row["negatives"], row["columns"], *fitted])
    heads = ["tells", "from", "cases", "cases", "columns", "nested AUC", "calibration slope", "Brier score"]
    left_out = "".join(
        f"<p>{html.escape(name)} is left out, and so is every answer that needs it: {html.escape(why)}.</p>"
        for name, why in trained.left_out.items()
    )
    answers = "".join(_answer(joint, trained.levels) for joint in trained.joint)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Levels {title}</title>'
        f"<style>{html_tables.STYLE}</style></head><body><h1>Ordered levels {title}</h1>"
        f'<p class="loud">{html.escape(RESEARCH)}</p>'
        f"<p>Column <code>{html.escape(trained.table.label_column)}</code>, the lowest level first: {levels} cases. "
        f"{trained.incomplete} incomplete cases were left out. Table "
        f"<code>{trained.table.sha256[:12]}</code>.</p><h2>Questions of two classes</h2><p>Each is trained and judged "
        "as a signature of two classes is: selection, fit, calibration and cutoff inside the folds; every fold holds "
        f"every level. Intervals at 95 %.</p>{html_tables.table(heads, lines)}{left_out}{answers}</body></html>\n"
    )


def _answer(joint: Joint, levels: tuple[str, ...]) -> str:
    lines: list[list[Json]] = [
        [level, *joint.confusion[k].tolist(), html_tables.interval(_interval(joint.right[k]))]
        for k, level in enumerate(levels)
    ]
    table = html_tables.table(["true level", *(f"called {level}" for level in levels), "called right"], lines)
    return (
        f"<h2>Level, {html.escape(joint.name)}</h2><p>Called is {html.escape(joint.rule)}. Held-out cases, first "
        f"repeat. Quadratic weighted kappa <b>{html_tables.interval(_interval(joint.kappa))}</b> (0: chance; bootstrap "
        "of patients, without the variation of fitting again), accuracy "
        f"{html_tables.interval(_interval(joint.accuracy))}. Of {joint.contradictions} cases the questions contradict "
        f"each other.</p>{table}"
    )


def _question(one: Question) -> dict[str, Json]:
    header, judged = one.signature.header, one.judged
    line = calibration.calibration(judged.probabilities, judged.positive, judged.patients)
    repeats, folds = judged.fold_aucs.shape
    return {
        "file": _file(one),
        "sha256": sha256_of(container.to_bytes(one.signature)),
        "positive": header.positive_value,
        "negative": header.negative_value,
        "positives": header.positives,
        "negatives": header.negatives,
        "columns": len(header.columns),
        "cutoff": header.cutoff,
        "auc": _interval(judged.auc),
        "repeats": int(repeats),
        "folds": int(folds),
        "empty_folds": judged.empty_folds,
        "calibration_slope": _interval(None if line is None else line.slope),
        "calibration_in_the_large": _interval(None if line is None else line.in_the_large),
        "brier": _interval(calibration.brier(judged.probabilities, judged.positive, judged.patients)),
    }


def _joint(one: Joint, levels: tuple[str, ...]) -> dict[str, Json]:
    return {
        "answer": one.name,
        "rule": one.rule,
        "quadratic_kappa": _interval(one.kappa),
        "accuracy": _interval(one.accuracy),
        "called_right": {level: _interval(share) for level, share in zip(levels, one.right, strict=True)},
        "confusion": one.confusion.tolist(),
        "contradictions": one.contradictions,
    }


def _file(question: Question) -> str:
    return f"{question.signature.header.name}{container.SUFFIX}"


def _interval(estimate: Interval | None) -> Json:
    return None if estimate is None else {"value": estimate.value, "ci": [estimate.low, estimate.high]}
