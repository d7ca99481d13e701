"""The files that `axrad run` writes: result, features, report, page."""

from __future__ import annotations

import csv
import hashlib
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.csv_cells import escaped

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.catalog import Exam
    from pipeline.pictures import Panel
    from pipeline.result import StudyResult
    from pipeline.roi.grid_regions import GridRegion


def write_outputs(
    result: StudyResult,
    panels: tuple[Panel, ...],
    regions: tuple[GridRegion, ...],
    exam: Exam,
    out: Path,
    settings: Settings,
    began: datetime,
    seconds_before: float = 0.0,
) -> StudyResult:
    """Write everything into `out`; the result as written (with the report's share of the time)."""
    # Only the process that writes loads what draws: `axrad run` names this function in one that evaluates meanwhile.
    from daemon.work.exam_source import source_of
    from dicom_sr import render

    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    if not result.input_digest:
        result = result.model_copy(update={"input_digest": input_digest(exam, result)})
    rendered = render(result, source_of(exam, result, began), panels, settings, regions)
    for kind, data in rendered.objects.items():
        (out / f"{kind}.dcm").write_bytes(data)
    (out / "page.pdf").write_bytes(rendered.page_pdf)
    (out / "page.png").write_bytes(rendered.page_png)
    seconds = time.perf_counter() - started
    timings = dict(result.timings_s)
    timings["load"] = round(timings.get("load", 0.0) + seconds_before, 4)
    timings["report"] = round(seconds, 4)
    timings["total"] = round(timings.get("total", 0.0) + seconds_before + seconds, 4)
    result = result.model_copy(update={"timings_s": timings})
    (out / "result.json").write_text(result.to_json(), encoding="utf-8")
    _write_features(result, out / "features.csv")
    return result


def input_digest(exam: Exam, result: StudyResult) -> str:
    """SHA-256 over the files that the result was made from: the chosen series, and every ROI object."""
    chosen = {c.series_uid for c in result.sequences.values()}
    used = [*exam.rois, *exam.registrations, *(i for s in exam.series if s.series_uid in chosen for i in s.instances)]
    digest = hashlib.sha256()
    for path in sorted({i.path for i in used if i.path is not None}):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _write_features(result: StudyResult, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["side", "feature", "value", "missing"])
        for side, part in result.parts():
            writer.writerows([side or "", escaped(name), repr(value), ""] for name, value in part.features.items())
            writer.writerows(
                [side or "", escaped(name), "", escaped(why)] for name, why in part.missing_features.items()
            )
