"""What `axrad propose` writes of regions that are proposed from the images alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast  # Any: values of JSON

import click

from daemon.cli.proposal_outputs import DOCUMENT, PICTURE, SEGMENTATION, file_of, now_at
from pipeline.errors import InputRejected, RoiRejected

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.catalog import Exam
    from pipeline.proposal.from_images import FromImages
    from pipeline.proposal.records import ImageRegion
    from pipeline.records import Volume


def wants_images(settings: Settings, asked: str | None, *, measured: bool) -> Settings:
    """The settings, with `proposal.from_images` as asked; "off" where measurements are used.

    Raises InputRejected where a model is asked for and the settings name none.
    """
    kind = cast("Literal['off', 'enhancement', 'model']", asked or settings.proposal.from_images)
    if asked is None and measured:
        kind = "off"
    if kind == "model" and settings.proposal.model is None:
        raise InputRejected("--from-images model needs the card of a model: set proposal.model")
    return settings.model_copy(update={"proposal": settings.proposal.model_copy(update={"from_images": kind})})


def propose_from_images_and_tell(out: Path, exam: Exam, settings: Settings, *, as_json: bool) -> None:
    """Propose regions of the exam from its images, write them into `out`, and print what was written.

    Raises RoiRejected (`no-proposal`) where no region is proposed, after the document that says why; ExamRejected
    where the method abstains.
    """
    from pipeline.proposal.from_images import propose_from_images

    proposed = propose_from_images(exam, settings)
    document = _document(exam, proposed, settings)
    out.mkdir(parents=True, exist_ok=True)
    document["files"] = _write(out, exam, proposed, settings) if proposed.regions else []
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (out / DOCUMENT).write_text(text, encoding="utf-8")
    if as_json:
        click.echo(text)
    if not proposed.regions:
        raise RoiRejected("no region is proposed: " + "; ".join(proposed.notes), code="no-proposal")
    if not as_json:
        for line in _lines_of(document, out):
            click.echo(line)


def _document(exam: Exam, proposed: FromImages, settings: Settings) -> dict[str, Any]:
    from pipeline.roi.export import grid_json

    grid = proposed.t1c.geometry
    return {
        "study_uid": exam.study_uid,
        "t1c": proposed.t1c.series_uid,
        "from_images": settings.proposal.from_images,
        "grid": grid_json(grid, f"T1+C, series {proposed.t1c.series_uid}"),
        "regions": [_region(n, r, grid.voxel_mm3) for n, r in enumerate(proposed.regions, 1)],
        "notes": list(proposed.notes),
    }


def _region(number: int, region: ImageRegion, voxel_mm3: float) -> dict[str, Any]:
    voxels = int(region.mask.sum())
    return {
        "segment": number,
        "label": region.label,
        "role": region.role,
        "side": region.side,
        "number": region.number,
        "origin": region.origin,
        "algorithm": {"name": region.maker, "version": region.version},
        "demonstration": region.demonstration,
        "quality": region.verdict,
        "figures": dict(region.figures),
        "why": list(region.why),
        "voxels": voxels,
        "volume_mm3": round(voxels * voxel_mm3, 3),
    }


def _lines_of(document: dict[str, Any], out: Path) -> list[str]:
    """The document for a person."""
    lines = [f"T1+C: series {document['t1c']}"]
    for region in document["regions"]:
        made = f"{region['algorithm']['name']} {region['algorithm']['version']}"
        lines.append(f"{region['label']}: {region['quality']}, {region['volume_mm3']:.1f} mm3, by {made}")
        figures = ", ".join(f"{name} {value:g}" for name, value in region["figures"].items())
        lines += [f"  {text}" for text in (*([figures] if figures else []), *region["why"])]
    lines += document["notes"]
    return [*lines, f"written to {out}: {', '.join([*document['files'], DOCUMENT])}"]


def _write(out: Path, exam: Exam, proposed: FromImages, settings: Settings) -> list[str]:
    from dicom_sr.proposal_segmentation import proposal_segmentation
    from dicom_sr.report_source import ReportSource
    from pipeline.pictures.region_sheet import RegionPicture, draw_regions
    from pipeline.records import Mask

    t1c = proposed.t1c
    source = ReportSource.from_files(file_of(exam.images, t1c), began=now_at(settings))
    (out / SEGMENTATION).write_bytes(proposal_segmentation(proposed.regions, t1c, source, settings))
    pictures = [
        RegionPicture(Mask(r.mask, t1c.geometry), r.role, r.side, (), (r.label, r.words, *_volume(r, t1c)))
        for r in proposed.regions
    ]
    draw_regions(t1c, pictures, out / PICTURE)
    return [SEGMENTATION, PICTURE]


def _volume(region: ImageRegion, t1c: Volume) -> tuple[str, ...]:
    return (f"{int(region.mask.sum()) * t1c.geometry.voxel_mm3 / 1000:.2f} ml", *region.why)
