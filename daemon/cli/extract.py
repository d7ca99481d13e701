"""`axrad extract`: features of one ROI, or a table of the features of many exams."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option, json_option, out_file

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.catalog import Exam
    from pipeline.features.feature_table import Outcome
    from pipeline.features.paired_tables import Pairing
    from pipeline.features.patient_column import PatientKey
    from pipeline.features.roi_features import RoiFeatures
    from pipeline.records import Origin, Sequence

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@json_option
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=out_file, help="Table to write: .csv or .parquet.")
@click.option("--image", type=FILE, help="Image of one ROI: any format that SimpleITK reads.")
@click.option("--mask", type=FILE, help="Label image on the same grid.")
@click.option("--label", type=click.IntRange(1), help="Which label is the ROI.  [default: 1]")
@click.option(
    "--sequence", type=click.Choice(("t1c", "t2", "adc")), help="What --image is: [features.SEQUENCE] is applied to it."
)
@click.option("--params", type=FILE, help="PyRadiomics parameter file: YAML, JSON or TOML.")
@click.option(
    "--patient-key",
    type=FILE,
    help="Key for patient_key in the table, the same file at every site that pools.  [default: a public salt]",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    type=click.Choice(("drawn", "measured", "model", "enhancement")),
    help="Only rows all of whose regions are of these origins; may be given several times.  [default: all]",
)
@click.option(
    "--perturb",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Measure each exam N times more, perturbed: TABLE.perturbed.parquet and TABLE.stability.csv.",
)
@click.option("--readers", type=FILE, help="Table of the same exams by another reader; see TABLE.stability.csv.")
@click.option("--retest", type=FILE, help="Table of the same patients scanned again; see TABLE.stability.csv.")
def extract(
    config_path: Path | None,
    as_json: bool,
    paths: tuple[Path, ...],
    out: Path | None,
    image: Path | None,
    mask: Path | None,
    label: int | None,
    sequence: Sequence | None,
    params: Path | None,
    patient_key: Path | None,
    origins: tuple[Origin, ...],
    perturb: int | None,
    readers: Path | None,
    retest: Path | None,
) -> None:
    """Features of one ROI (--image, --mask), or of every exam in the folders PATH as one row of a table (--out).

    A table that exists is resumed: exams that have a row are passed over. Exams that cannot be evaluated are listed at
    the end and in TABLE.failed.json.
    """
    from config.load import load

    one, many = image is not None or mask is not None, bool(paths) or out is not None
    if one == many:
        raise click.UsageError("Give either --image and --mask, or folders of exams and --out.")
    settings = load(config_path, writes=False)
    if params is not None:
        features = settings.features.model_copy(update={"params": params})
        settings = settings.model_copy(update={"features": features})
    if one:
        if image is None or mask is None:
            raise click.UsageError("--image and --mask belong together.")
        if patient_key is not None:
            raise click.UsageError("--patient-key belongs to a table of exams (--out).")
        of_tables = {"--origin": origins, "--perturb": perturb, "--readers": readers, "--retest": retest}
        if given := next((name for name, value in of_tables.items() if value), None):
            raise click.UsageError(f"{given} belongs to a table of exams (--out).")
        _one_roi(image, mask, label, sequence, settings, as_json)
    else:
        if not paths or out is None:
            raise click.UsageError("Folders of exams and --out belong together.")
        if label is not None:
            raise click.UsageError("--label belongs to --image and --mask.")
        if sequence is not None:
            raise click.UsageError("--sequence belongs to --image and --mask: of exams it is known.")
        if out.suffix.lower() not in (".csv", ".parquet"):
            raise click.BadParameter("a table ends in .csv or .parquet", param_hint="--out")
        if origins and perturb:
            raise click.UsageError("--perturb measures every exam: give it without --origin.")
        others: dict[Pairing, Path] = {}
        others |= {} if readers is None else {"readers": readers}
        others |= {} if retest is None else {"retest": retest}
        from daemon.recovery.unreadable_files import noting

        with noting(out.with_name(out.name + ".notes"), "axrad extract", time.time()):
            _many_exams(paths, out, settings, _patients(patient_key), origins, perturb or 0, others, as_json)


def _patients(path: Path | None) -> PatientKey:
    from pipeline.features.patient_column import key_from, public_key

    if path is not None:
        return key_from(path.read_bytes(), path.name)
    click.echo(
        "patient_key is made with axrad's public salt: it joins exams of one patient, and whoever has the table finds "
        "short ids by trying them; give --patient-key FILE for a table that leaves the house",
        err=True,
    )
    return public_key()


def _one_roi(
    image: Path, mask: Path, label: int | None, sequence: Sequence | None, settings: Settings, as_json: bool
) -> None:
    from pipeline.errors import FeatureRejected
    from pipeline.features import from_settings
    from pipeline.features.from_files import extract_files
    from pipeline.features.parameters import for_sequence

    features_of = settings.features
    parameters = from_settings(features_of) if sequence is None else for_sequence(features_of, sequence)
    if label is not None:
        parameters = parameters.with_label(label)
    features = extract_files(image, mask, parameters)
    if as_json:
        document = {
            "features": features.values,
            "missing": features.missing,
            "diagnostics": features.diagnostics,
            "grey_levels": features.grey_levels,
        }
        click.echo(json.dumps(document, allow_nan=False))
    else:
        _print_listing(features)
    if features.refusal is not None:
        raise FeatureRejected(f"{mask.name}: {features.refusal}")


def _print_listing(features: RoiFeatures) -> None:
    width = max(map(len, (*features.values, *features.missing)), default=0)
    for name, value in features.values.items():
        click.echo(f"{name:<{width}}  {value:.10g}")
    if features.refusal is None:
        for name, why in features.missing.items():
            click.echo(f"{name:<{width}}  missing: {why}")


def _many_exams(
    paths: tuple[Path, ...],
    out: Path,
    settings: Settings,
    patients: PatientKey,
    origins: tuple[Origin, ...],
    perturb: int,
    others: Mapping[Pairing, Path],
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pipeline.analysis.signatures_in_use import Signatures
    from pipeline.catalog import exams, scan
    from pipeline.dicom_file.reading_marker import set_aside
    from pipeline.errors import ExamRejected, FileSetAside
    from pipeline.extraction_settings import settings_hash, text_of
    from pipeline.features.feature_table import fill
    from pipeline.features.repeats import Repeats
    from pipeline.records import ORIGINS
    from pipeline.result import StudyResult
    from pipeline.run import analyse

    # a table is what signatures are trained on: it needs none, and has every feature, whatever one asks for
    features = settings.features.model_copy(update={"set": "all"})
    settings = settings.model_copy(update={"features": features})

    spoilt: dict[Path, FileSetAside] = {}
    repeats = Repeats(out, settings, perturb, others)

    def evaluate(exam: Exam) -> StudyResult:
        for path in (image.path for image in exam.images):
            if path is not None and path.parent in spoilt:
                raise spoilt[path.parent]
        with repeats.of(exam.study_uid) as measure:
            return analyse(exam, settings, Signatures.none(), also=measure).result

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        reading = progress.add_task("reading headers", total=None)
        facts, unreadable = scan(paths, lambda done, total: progress.update(reading, completed=done, total=total))
        # Whose slice a file is that nobody can read is not known: nothing beside it is taken for whole.
        spoilt |= {path.parent: why for path, _ in unreadable if (why := set_aside(path)) is not None}
        studies = [exam for exam in exams(facts) if exam.series]
        if not studies:
            raise ExamRejected(f"No MR exam among {len(facts)} DICOM files and {len(unreadable)} other files.")
        working = progress.add_task("exams", total=len(studies))
        advance = lambda: progress.advance(working)  # noqa: E731
        form, wanted = (settings_hash(settings), patients, text_of(settings)), origins or ORIGINS
        with repeats:
            outcome = fill(out, studies, evaluate, advance, *form, wanted)
    _print_outcome(out, outcome, as_json)
    if (perturb or others) and not as_json:
        click.echo(f"{repeats.stability}: how far features agree")
    if outcome.failures:
        raise ExamRejected(f"{len(outcome.failures)} of {len(studies)} exams have no row; see {out.name}.failed.json")


def _print_outcome(out: Path, outcome: Outcome, as_json: bool) -> None:
    for failure in outcome.failures:
        click.echo(f"{failure.study_uid}: {failure.reason}", err=True)
    for where, missing in outcome.incomplete.items():
        click.echo(f"{where}: {len(missing)} features missing, e.g. {next(iter(missing.values()))}", err=True)
    if as_json:
        failed = [{"study_uid": f.study_uid, "code": f.code, "reason": f.reason} for f in outcome.failures]
        summary = {"table": str(out), "rows": outcome.rows, "skipped": outcome.skipped}
        if outcome.other_origins:
            summary["other_origins"] = outcome.other_origins
        summary["failed"] = failed
        click.echo(json.dumps(summary))
    else:
        others = f", {outcome.other_origins} rows are of other origins" if outcome.other_origins else ""
        failed_count = f"{len(outcome.failures)} failed"
        click.echo(f"{out}: {outcome.rows} rows added, {outcome.skipped} exams were there{others}, {failed_count}")
