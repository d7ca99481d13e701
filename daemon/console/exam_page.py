"""One exam: from its first image to the proof of delivery, its series, its regions, its report."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from starlette.responses import Response

from daemon import audit
from daemon.console import pictures
from daemon.console.command_links import pieces
from daemon.console.exam_content import (
    ExamContent,
    Results,
    ShownSeries,
    Waiting,
    content_of,
    first_region_series,
    proposal_of,
    results_of,
    study_named,
)
from daemon.console.orders import OF_EXAM
from daemon.console.pictures import Extent
from daemon.console.visit import Visit
from daemon.ledger import views
from daemon.ledger.rows import JsonObject, StudyRow
from daemon.ledger_in_words import EVENTS, INPUTS, arrivals_of, grouped, remedies_of
from pipeline.catalog import InstanceFacts, Selection
from pipeline.errors import ExamRejected, InputRejected

KINDS = {"page.png": "image/png", "page.pdf": "application/pdf", "result.json": "application/json"}


def about(study: StudyRow) -> audit.Study:
    return audit.Study(study.study_uid, {}, study.id)


def exam(visit: Visit) -> Response:
    """The page of an exam. Who the patient is, and what images show, only for those who may see it."""
    settings, ledger = visit.settings, visit.state.ledger
    study = study_named(ledger, visit.named["study"])
    with ledger.read() as connection:
        rows = views.timeline(connection, study)
    content = content_of(settings, ledger, study)
    results, proposal = results_of(settings, ledger, study), proposal_of(settings, ledger, study)
    visit.viewed("exam", about(study))
    return visit.render(
        "exam.html",
        section="exams",
        study=rows,
        patient=_patient(visit, content) if visit.may("names") else None,
        events=_timeline(rows),
        remedies=[pieces(line, visit.may) for line in remedies_of(rows)],
        lacked=[INPUTS[name] for name in rows["lacked"]],
        content=content,
        results=results,
        parts=[] if results is None else [(side or "", part) for side, part in results.result.parts()],
        proposal=proposal,
        regions_on=first_region_series(content, results),
        orders=_orders(visit, study, proposal),
        report_text=_report_text(visit, results),
    )


def _patient(visit: Visit, content: ExamContent) -> dict[str, str]:
    """Read from a file of the spool for this page alone; nothing where no file is left."""
    path = next((image.path for image in content.exam.images if image.path is not None), None)
    if path is None:
        return {}
    try:
        return visit.state.pictures.ask(pictures.patient_of, path)
    except (ExamRejected, OSError):
        return {}


def _timeline(rows: JsonObject) -> list[JsonObject]:
    """What happened when, how long after the event before, in words."""
    shown: list[JsonObject] = []
    before: float | None = None
    for event in grouped(sorted([*rows["events"], *arrivals_of(rows)], key=lambda e: e["at"])):
        passed = None if before is None else event["at"] - before
        before = event["at"]
        title = EVENTS.get(event["kind"], event["kind"].replace("-", " "))
        shown.append({"at": event["at"], "passed": passed, "title": title, "detail": event["detail"]})
    return shown


def _orders(visit: Visit, study: StudyRow, proposal: Waiting | None) -> list[tuple[str, str]]:
    """Orders that this user may give for an exam in this state: name and title."""
    offered = []
    for name, order in OF_EXAM.items():
        fits = not order.states or study.state in order.states
        if name == "accept-identity":
            fits = study.state == "held" or study.corrected_key is not None
        elif name in ("accept", "reject"):
            fits = proposal is not None and proposal.open
        if fits and visit.may(name):
            offered.append((name, order.title))
    return offered


def _report_text(visit: Visit, results: Results | None) -> str:
    if results is None or "sr.dcm" not in results.files or not visit.may("report"):
        return ""
    try:
        return visit.state.pictures.ask(pictures.report_text_of, results.files["sr.dcm"])
    except (ExamRejected, OSError):
        return ""


def result_file(visit: Visit) -> Response:
    """A file of a revision's result, of the newest where none is named: the page for readers as picture or PDF, or
    every number as JSON.
    """
    study, name = study_named(visit.state.ledger, visit.named["study"]), visit.named["name"]
    number = visit.query.get("revision", "")
    which = int(number) if number.isascii() and number.isdigit() and len(number) < 7 else None
    results = results_of(visit.settings, visit.state.ledger, study, which)
    if results is None or name not in KINDS or name not in results.files:
        raise InputRejected("this exam has no such file", code="no-such-file")
    visit.viewed(f"report {name}", about(study))
    return Response(results.files[name].read_bytes(), media_type=KINDS[name])


# Series and regions


def picture(visit: Visit) -> Response:
    """A slice of a series as PNG: as it is, or with the outlines of regions (`regions=1`)."""
    study, content, series = _series(visit)
    number = _number(visit.query.get("slice", ""), len(series.slices))
    visit.viewed("pictures", about(study))
    try:
        if "regions" in visit.query:
            where = _with_regions(visit, study, content, series)
            png = visit.state.pictures.ask(pictures.view, *where, number, visit.settings).png
        else:
            one = series.slices[number - 1].frame
            size = pictures.VIEW if "large" in visit.query else pictures.TILE
            png = visit.state.pictures.ask(pictures.tile, _existing(one.instance.path), one.frame, size)
    except ExamRejected as error:
        return Response(error.message, HTTPStatus.NOT_FOUND, media_type="text/plain")
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def slices(visit: Visit) -> Response:
    """One series, slice by slice, without a script: the page before, the next, and where each region is largest."""
    study, content, series = _series(visit)
    proposal = proposal_of(visit.settings, visit.state.ledger, study)
    extents: list[Extent] = []
    shown: tuple[tuple[str, str], ...] = ()
    trouble = ""
    number = _number(visit.query.get("slice", ""), len(series.slices))
    if series.selection is not None:
        where = _with_regions(visit, study, content, series)
        try:
            extents = visit.state.pictures.ask(pictures.extents, *where, visit.settings)
            if extents and "slice" not in visit.query:
                number = extents[0][4]
            shown = visit.state.pictures.ask(pictures.view, *where, number, visit.settings).shown
        except ExamRejected as error:
            trouble = error.message
    visit.viewed("pictures", about(study))
    options = {"slice": number, **({"regions": 1} if extents else {"large": 1})}
    return visit.render(
        "slices.html", section="exams", study=study, series=series, number=number, count=len(series.slices),
        source=f"/exams/{study.id}/series/{series.number}/picture?{urlencode(options)}", extents=extents, shown=shown,
        trouble=trouble, orders=[o for o in _orders(visit, study, proposal) if o[0] in ("accept", "reject")],
    )  # fmt: skip


def _series(visit: Visit) -> tuple[StudyRow, ExamContent, ShownSeries]:
    study = study_named(visit.state.ledger, visit.named["study"])
    content = content_of(visit.settings, visit.state.ledger, study)
    number = visit.named["series"]
    plausible = number.isascii() and number.isdigit() and len(number) < 7
    return study, content, content.numbered(int(number) if plausible else 0)


def _with_regions(
    visit: Visit, study: StudyRow, content: ExamContent, series: ShownSeries
) -> tuple[Selection, tuple[InstanceFacts, ...], Path | None]:
    """What a picture with regions is made of. Raises InputRejected where the series was not chosen."""
    if series.selection is None:
        raise InputRejected("this series was not chosen; no region is drawn on it", code="not-chosen")
    proposal = proposal_of(visit.settings, visit.state.ledger, study)
    path = proposal.path if proposal is not None and proposal.open else None
    return series.selection, content.exam.rois, path


def _existing(path: Path | None) -> Path:
    if path is None:
        raise InputRejected("the file of this image is not in the spool of this machine", code="no-file")
    return path


def _number(text: str, most: int) -> int:
    """A slice that there is; the middle one where nothing else is said."""
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        return max(1, (most + 1) // 2)
    return min(max(1, int(text)), max(1, most))
