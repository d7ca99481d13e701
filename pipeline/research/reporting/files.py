"""The files beside an evaluation's report: model card, methods section and checklists."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.csv_cells import escaped, quoted
from pipeline.records import Json
from pipeline.research.reporting.answer import Answer, Material, Status
from pipeline.research.reporting.checklist import AUTHORS, WHO, Filled, Item, fill
from pipeline.signature import card, document, methods, model_card
from pipeline.signature.methods import Making
from pipeline.signature.record import Signature
from pipeline.signature.whole_files import write_atomically

LINKS = (
    ("card.html", "model card"),
    ("checklists.html", "checklists TRIPOD+AI and CLEAR"),
    ("checklists.csv", "the same as a table"),
    ("methods.md", "methods section"),
)
COLUMNS = ("checklist", "item", "section", "subject", "essential", "status", "known", "missing", "who", "where")
STYLE = """
body { max-width: 80rem }
th { position: sticky; top: 0; background: #fff }
td:first-child { min-width: 0 }
tr.section td { background: #f2f2f2; font-weight: 600 }
.status { white-space: nowrap; font-weight: 600 }
.answered .status { color: #1b6e2e }
.open .status { color: #8a5a00 }
tr.open { background: none; border: 0 }
.none .status { color: #666 }
"""
CLASSES: Mapping[Status, str] = {"answered": "answered", "open": "open", "not applicable": "none"}


def write(signature: Signature, evaluation: Mapping[str, Json], making: Making, folder: Path) -> None:
    """Write `card.json`, `card.md`, `card.html`, `methods.md`, `checklists.html` and `checklists.csv`."""
    facts = json.dumps(card.facts(signature, evaluation), indent=1, sort_keys=True, allow_nan=False)
    filled = fill(Material(signature, evaluation, making))
    for name, text in (
        ("card.json", facts),
        ("card.md", model_card.markdown(signature, evaluation)),
        ("card.html", model_card.page(signature, evaluation)),
        ("methods.md", methods.markdown(signature, evaluation, making)),
        ("checklists.html", page(signature.header.title, filled)),
        ("checklists.csv", table(filled)),
    ):
        write_atomically(folder / name, text.encode())


def links() -> str:
    """The links of a report to these files."""
    listed = " · ".join(f'<a href="{name}">{html.escape(text)}</a>' for name, text in LINKS)
    return f"<p>Beside this page: {listed}</p>"


def table(filled: Iterable[Filled]) -> str:
    """All checklists as one CSV table that no spreadsheet program takes for formulas."""
    rows = [COLUMNS]
    for one in filled:
        rows += [
            (
                one.checklist.name, item.number, item.section, item.subject, "yes" if item.essential else "no",
                answer.status, answer.text, answer.missing, _who(item, answer), "; ".join(answer.where),
            )
            for item, answer in one.answers
        ]  # fmt: skip
    return "".join(",".join(quoted(escaped(cell)) for cell in row) + "\n" for row in rows)


def page(title: str, filled: Iterable[Filled]) -> str:
    """All checklists as one HTML page that needs nothing but the files that it points to."""
    heading = f"Checklists of {title}"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(heading)}</title>'
        f"<style>{document.STYLE}{STYLE}</style></head><body><h1>{html.escape(heading)}</h1>"
        '<p><a href="report.html">Back to the report</a>. Filled in from the signature and its evaluation. '
        "<b>Open</b> items are to be answered by people; what is known of them stands beside. Subjects are short names "
        "of our own: answer by the wording of the source.</p>"
        f"{''.join(_checklist(one) for one in filled)}</body></html>\n"
    )


def _checklist(filled: Filled) -> str:
    source, counts = filled.checklist, filled.counts
    numbers = ", ".join(f"{counts[status]} {status}" for status in CLASSES)
    rows, section = [], ""
    for item, answer in filled.answers:
        if item.section != section:
            section = item.section
            rows.append(f'<tr class="section"><td colspan="6">{html.escape(section)}</td></tr>')
        rows.append(_row(item, answer))
    heads = "".join(f"<th>{head}</th>" for head in ("item", "subject", "status", "known", "to be added", "where"))
    return (
        f"<h2>{html.escape(source.name)}: {numbers}</h2><p>{html.escape(source.authors)} {source.year}. "
        f'{html.escape(source.title)}. <a href="https://doi.org/{source.doi}">doi:{source.doi}</a></p>'
        f"<table><tr>{heads}</tr>{''.join(rows)}</table>"
    )


def _row(item: Item, answer: Answer) -> str:
    notes = [f"{item.of} only"] if item.of else []
    notes += [] if item.essential else ["not essential"]
    subject = html.escape(item.subject) + (f" <small>({', '.join(notes)})</small>" if notes else "")
    missing = f"<b>{html.escape(_who(item, answer))}</b>: {document.inline(answer.missing)}" if answer.missing else ""
    where = "<br>".join(_place(place) for place in answer.where)
    return (
        f'<tr class="{CLASSES[answer.status]}"><td>{item.number}</td><td>{subject}</td><td class="status">'
        f"{answer.status}</td><td>{document.inline(answer.text)}</td><td>{missing}</td><td>{where}</td></tr>"
    )


def _who(item: Item, answer: Answer) -> str:
    return "" if answer.status != "open" else WHO.get(item.who, AUTHORS)


def _place(place: str) -> str:
    """A file as a link where it lies beside the page."""
    name, colon, section = place.partition(":")
    beside = {"report.html", "evaluation.json", "card.json", *(file for file, _ in LINKS)}
    if name in beside or name.startswith("scores_"):
        return f'<a href="{html.escape(name)}">{html.escape(name)}</a>{html.escape(colon + section)}'
    return document.inline(place)
