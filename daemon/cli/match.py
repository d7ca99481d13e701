"""`axrad match`: what each series of an exam was taken for, which were chosen, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option, json_option, out_file

if TYPE_CHECKING:
    from pipeline.catalog import Exam, InstanceFacts
    from pipeline.sequences import Match


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--names",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Match a CSV table of series names instead; prints JSON lines.",
)
@click.option(
    "--sheet",
    type=out_file,
    help="Contact sheet (PNG). Default: match.png here; with --json only when given.",
)
@config_option
@json_option
def match(
    paths: tuple[Path, ...], names: Path | None, sheet: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Say what each series in PATHS (files, folders) was taken for, which were chosen as T1+C, T2 and ADC, and why."""
    from config.load import load

    settings = load(config_path, writes=False)
    if names is not None:
        if paths:
            raise click.UsageError("give either PATHS or --names, not both")
        from pipeline.sequences.name_matching import match_names
        from pipeline.sequences.name_table import read_rows
        from pipeline.sequences.rules import rules

        for row, label in enumerate(match_names(read_rows(names), rules(settings.sequences.rules))):
            line: dict[str, object] = {
                "row": row,
                "label": label.label,
                "confidence": round(label.confidence, 3),
                "why": label.why,
            }
            click.echo(json.dumps(line | ({"chosen": label.chosen} if label.chosen else {}), ensure_ascii=False))
        return
    if not paths:
        raise click.UsageError("give the PATHS of DICOM files or folders, or --names FILE.csv")
    exam = _exam(paths, as_json)
    from pipeline.analysis.choice_by_regions import matched_by_regions
    from pipeline.pictures.contact_sheet import draw

    matched = matched_by_regions(exam, settings)
    target = sheet or (None if as_json else Path("match.png"))
    if target is not None:
        draw(exam, matched, target)
    if as_json:
        click.echo(json.dumps(_document(matched), ensure_ascii=False, indent=1))
    else:
        _show(exam, matched, target)


def _exam(paths: tuple[Path, ...], quiet: bool) -> Exam:
    """The one exam below the paths; of several, an error that names them. Also of a file that ends whoever reads it."""
    from rich.console import Console

    from daemon.cli.helper_process import another_process
    from pipeline.catalog import exams
    from pipeline.errors import InputRejected

    with another_process(risky=True) as ask:
        instances, unreadable = ask(_scanned, paths, quiet)()
    console = Console(stderr=True)
    for path, reason in unreadable:
        console.print(f"passed over {path}: {reason}", style="yellow", highlight=False)
    exams_found = [exam for exam in exams(instances) if exam.series]
    if not exams_found:
        raise InputRejected("There is no MR image among these files.")
    if len(exams_found) > 1:
        raise InputRejected(
            f"These files are of {len(exams_found)} exams; name the folder of one: "
            + ", ".join(e.study_uid for e in exams_found)
        )
    return exams_found[0]


def _scanned(paths: tuple[Path, ...], quiet: bool) -> tuple[list[InstanceFacts], list[tuple[Path, str]]]:
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.catalog import scan

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("Reading headers")
        report: Callable[[int, int], None] = lambda done, total: progress.update(task, completed=done, total=total)  # noqa: E731
        return scan(paths, report)


def _document(matched: Match) -> dict[str, object]:
    return {
        "series": [
            {"series_uid": s.series_uid, "label": s.label, "confidence": s.confidence, "why": s.why}
            for s in matched.labels
        ],
        "chosen": {name: selection.series_uid for name, selection in matched.chosen.items()},
        "details": {
            name: {
                "why": selection.why,
                "confidence": round(selection.confidence, 3),
                "phase": selection.phase,
                "images": len(selection.frames),
                "computed_from_b": sorted(selection.frames_by_b) or None,
            }
            for name, selection in matched.chosen.items()
        },
        "reasons": list(matched.reasons),
        "codes": list(matched.codes),
        "notes": list(matched.notes),
    }


def _show(exam: Exam, matched: Match, sheet: Path | None) -> None:
    """Two lines per series, for whatever width: what it was taken for, and below it why."""
    from daemon.cli.wording import console, hanging
    from pipeline.sequences.evidence import Evidence

    out = console()
    used = {selection.series_uid: name for name, selection in matched.chosen.items()}
    labels = {label.series_uid: label for label in matched.labels}
    rows = [("No.", "images", "taken for", "conf.", "chosen", "series", "")]
    for series in sorted(exam.series, key=lambda s: Evidence(s).series_number):
        evidence, label = Evidence(series), labels[series.series_uid]
        name = used.get(series.series_uid)
        chosen = "" if name is None else f"{name} {matched.chosen[name].phase or ''}".strip()
        number, images = f"{evidence.series_number:g}", str(len(evidence.slices))
        rows.append((number, images, label.label, f"{label.confidence:.2f}", chosen, evidence.name, label.why))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    out.print(f"Study {exam.study_uid}", soft_wrap=True)
    for row in rows:
        cells = [c.rjust(w) if n < 2 else c.ljust(w) for n, (c, w) in enumerate(zip(row[:5], widths, strict=True))]
        hanging(out, "  ".join([*cells, row[5]]), style="bold green" if row[4] and row[6] else "")
        if row[6]:
            hanging(out, " " * (widths[0] + 2) + row[6], style="dim")
    for name, selection in matched.chosen.items():
        hanging(out, f" {selection.series_uid}: {selection.why}", head=name, head_style="bold")
    for sentence in matched.reasons:
        hanging(out, f" {sentence}", head="not evaluated:", head_style="bold red")
    for sentence in matched.notes:
        hanging(out, f"note: {sentence}")
    if sheet is not None:
        out.print(f"contact sheet: {sheet}", soft_wrap=True)
