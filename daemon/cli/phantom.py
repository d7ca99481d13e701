"""`axrad phantom`: synthetic breast MR exams with ROIs, as DICOM files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.progress import track

from daemon.cli.options import config_option, json_option, out_folder

if TYPE_CHECKING:
    from pipeline.phantom import PhantomExam
    from pipeline.phantom.spec import Preset, Vendor


@click.command()
@click.option("--out", type=out_folder, required=True, help="Folder to write into.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the first exam.")
@click.option("--exams", type=click.IntRange(min=1), default=1, show_default=True, help="How many; seeds count up.")
@click.option("--vendor", type=click.Choice(["siemens", "ge", "philips"]), default="siemens", show_default=True)
@click.option("--preset", type=click.Choice(["small", "demo", "reference", "hard"]), default="demo", show_default=True)
@click.option(
    "--layout", type=click.Choice(["series_per_phase", "one_series"]), help="Of the dynamic; else the vendor's."
)
@click.option("--no-adc-map", is_flag=True, help="Leave the ADC map out: it has to be computed from the DWI.")
@click.option("--no-seg", is_flag=True, help="Leave the ROIs out.")
@click.option(
    "--measurements", is_flag=True, help="Add a reader's long and short axes of every lesion, as OHIF saves them."
)
@click.option(
    "--jitter",
    type=click.FloatRange(0, 5),
    default=0.0,
    show_default=True,
    help="How far axes end off their place, mm.",
)
@config_option
@json_option
def phantom(
    out: Path,
    seed: int,
    exams: int,
    vendor: Vendor,
    preset: Preset,
    layout: Literal["series_per_phase", "one_series"] | None,
    no_adc_map: bool,
    no_seg: bool,
    measurements: bool,
    jitter: float,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Write synthetic breast MR exams with SEG. Equal arguments give equal files."""
    from pipeline.errors import InputRejected
    from pipeline.phantom import PhantomSpec, write_exam
    from pipeline.phantom.measurements import write_measurements

    manifest = []
    for number in track(range(exams), "Writing exams", console=Console(stderr=True), disable=exams == 1):
        spec = PhantomSpec(
            seed + number, vendor, preset, dce_layout=layout, with_adc_map=not no_adc_map, with_seg=not no_seg
        )
        folder = out / f"exam_{spec.seed:06d}"
        if folder.exists():
            raise InputRejected(f"The folder {folder} exists already; choose another --out or --seed.")
        exam = write_exam(folder, spec)
        report = write_measurements(exam, jitter) if measurements else None
        manifest.append(_entry(exam, report))
    if as_json:
        click.echo(json.dumps({"exams": manifest}, indent=1))
        return
    for entry in manifest:
        click.echo(f"{entry['folder']}: {entry['files']} files, study {entry['study_uid']}")


def _entry(exam: PhantomExam, report: Path | None) -> dict[str, object]:
    """One exam of the manifest."""
    return {
        "folder": str(exam.folder),
        "files": len(exam.paths) + (report is not None),
        "seed": exam.spec.seed,
        "vendor": exam.spec.vendor,
        "study_uid": exam.study_uid,
        "frame_of_reference_uid": exam.frame_of_reference_uid,
        "chosen": dict(exam.chosen),
        "seg": None if exam.seg_path is None else str(exam.seg_path),
        "seg_uid": exam.seg_uid,
        "measurements": None if report is None else str(report),
        "voxels": {role: mask.voxels for role, mask in exam.masks.items()},
        "volume_mm3": {role: round(mask.volume_mm3, 3) for role, mask in exam.masks.items()},
        "truth": asdict(exam.truth),
        "series": [
            {
                "series_uid": series.series_uid,
                "label": series.label,
                "description": series.description,
                "phase": series.phase,
                "instances": len(series.paths),
            }
            for series in exam.series
        ],
    }
