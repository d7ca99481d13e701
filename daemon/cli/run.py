"""`axrad run PATH --out DIR`: the pipeline on a folder, offline: no broker, no ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from config.load import load
from daemon.cli.helper_process import another_process, without_blas_threads, without_garbage_collection
from daemon.cli.helper_process import load as load_module
from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.run_outputs import write_outputs
from daemon.logs import set_up

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.result import StudyResult


@click.command()
@config_option
@json_option
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=out_folder, help="Where the files go.")
@click.option("--signature", "signature_path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--clinical",
    "clinical_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Clinical facts, CSV or JSON, for a signature that reads them.",
)
def run(
    config_path: Path | None,
    as_json: bool,
    path: Path,
    out: Path,
    signature_path: Path | None,
    clinical_path: Path | None,
) -> None:
    """Evaluate the exam in PATH; writes result.json, features.csv, sr.dcm, page.pdf."""
    without_blas_threads()
    from pipeline.errors import ExamRejected

    with without_garbage_collection():
        settings = load(config_path, writes=False)
        set_up(settings.log, "run")
        if signature_path is not None:
            chosen = settings.signature.model_copy(update={"path": signature_path, "registry": None})
            settings = settings.model_copy(update={"signature": chosen})
        if clinical_path is not None:
            sources = settings.clinical.model_copy(update={"registry": clinical_path})
            settings = settings.model_copy(update={"clinical": sources})
        result = _evaluated(path, out, settings)
        click.echo(result.to_json() if as_json else summary(result, out))
    if result.status != "evaluated":
        raise ExamRejected("not evaluated: " + "; ".join(result.reasons))


def _evaluated(path: Path, out: Path, settings: Settings) -> StudyResult:
    """The result, written. Another process reads the headers while this one loads the science, and loads what draws
    and writes the report while this one evaluates."""
    from pipeline.catalog import exam_in

    began = datetime.now(UTC).astimezone(ZoneInfo(settings.site.timezone))
    started = time.perf_counter()
    with another_process(risky=True) as ask:
        reading = ask(exam_in, path)
        ask(load_module, "dicom_sr")
        from daemon.clinical.exam import clinical_of, patient_of
        from pipeline.analysis.signatures_in_use import Signatures
        from pipeline.run import analyse

        signatures = Signatures.from_settings(settings.signature)
        exam = reading()
        scanned = time.perf_counter() - started
        clinical = clinical_of(patient_of(exam), signatures.clinical, settings.clinical)
        analysis = analyse(exam, settings, signatures, clinical=clinical)
        return ask(
            write_outputs, analysis.result, analysis.panels, analysis.regions, exam, out, settings, began, scanned
        )()


def summary(result: StudyResult, out: Path) -> str:
    """The answer in a few lines."""
    lines = [f"study {result.study_uid}: {result.status}"]
    for _, part in result.parts():
        if part.prediction is not None:
            p = part.prediction
            lines.append(
                f"{p.positive_class}: {p.category} risk, probability {p.probability:.1%} "
                f"(cutoff {p.cutoff:.1%}, {p.signature})"
            )
    lines += [f"absent: {name}: {why}" for name, why in result.absent.items()]
    if result.demonstration:
        lines.append("demonstration signature, not for clinical use")
    lines.append(f"written to {out}: result.json, features.csv, sr.dcm, page.pdf")
    return "\n".join(lines)
