"""What `axrad propose` and `axrad roi --from-sr` share: regions from readers' measurements, written into a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: values of JSON
from zoneinfo import ZoneInfo

import click

from daemon.cli.helper_process import another_process
from pipeline.errors import ExamRejected, InputRejected, RoiRejected

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.catalog import Exam, InstanceFacts
    from pipeline.measurements import NotUsed, ProposedRegion, ProposedRegions
    from pipeline.pictures.region_sheet import RegionPicture
    from pipeline.records import Volume

SEGMENTATION, PICTURE, DOCUMENT = "proposal.dcm", "regions.png", "proposal.json"


def propose_and_tell(
    out: Path, path: Path, reports: Sequence[Path], settings: Settings, *, masks: bool, as_json: bool
) -> None:
    """Propose the regions of the exam in `path`, write them into `out`, and print what was written.

    `reports`: files of measurements; none: all that lie in `path`. `masks`: also each region as NRRD. Raises
    RoiRejected (`no-proposal`) where no region is proposed, after the document that says why of every measurement;
    ExamRejected and InputRejected where there is no exam, no T1+C or no measurement.
    """
    document = _propose_into(out, path, reports, settings, masks=masks)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    if not document["regions"]:
        raise RoiRejected("no region is proposed: " + "; ".join(_reasons_in(document)), code="no-proposal")
    if not as_json:
        for line in _lines_of(document, out):
            click.echo(line)


def _propose_into(out: Path, path: Path, reports: Sequence[Path], settings: Settings, *, masks: bool) -> dict[str, Any]:
    """What was written, as JSON types. It says of every measurement what became of it, also where that is nothing."""
    from pipeline.measurements import propose_regions, read_files, t1c_and_before
    from pipeline.roi import load_rules

    exam, in_folder = scanned(path)
    files = list(reports) or in_folder
    if not files:
        raise InputRejected(
            f"{path} holds no reader's measurements: no TID 1500 report and no presentation state; --from-images "
            "proposes without"
        )
    readable, faults = read_files(files, load_rules(settings.roi.rules))
    t1c, pre = t1c_and_before(exam, settings.sequences)
    proposed = propose_regions(readable, t1c, pre, exam.images)
    document = _document(exam, t1c, pre, proposed, faults)
    out.mkdir(parents=True, exist_ok=True)
    if masks and proposed.regions:
        document["rois"] = _write_masks(out, t1c, proposed.regions, document["regions"])
    document["files"] = _write(out, exam, t1c, proposed, settings) if proposed.regions else []
    (out / DOCUMENT).write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    return document


def _lines_of(document: dict[str, Any], out: Path) -> list[str]:
    """The document for a person."""
    lines = [f"T1+C: series {document['t1c']}"]
    for region in document["regions"]:
        lines.append(
            f"{region['label']}: {region['quality']}, {region['method']}, {region['volume_mm3']:.1f} mm3, from "
            f"{region['shape']} of measurement {region['measurement']} ({region['written_label']})"
        )
        lines += [f"  {text}" for text in (*region["why"], *region["notes"])]
    lines += [f"not used: {reason}" for reason in _reasons_in(document)]
    masks = [region["file"] for region in document["regions"] if region["file"] is not None]
    return [*lines, f"written to {out}: {', '.join([*masks, *document['files'], DOCUMENT])}"]


def _reasons_in(document: dict[str, Any]) -> list[str]:
    """Each measurement and file that is not used, with why."""
    return [_reason(each) for each in document["not_understood"]]


def _reason(entry: dict[str, Any]) -> str:
    if "file" in entry:
        return f"{entry['file']}: {entry['why']}"
    label = f" ({entry['label']})" if entry["label"] else ""
    number = f"measurement {entry['measurement']}{label} of " if entry["measurement"] is not None else ""
    return f"{number}{entry['source_uid']}: {entry['why']}"


def scanned(path: Path) -> tuple[Exam, list[Path]]:
    """The exam, and the files of measurements beside it that no axrad wrote, read in another process."""
    with another_process(risky=True) as ask:
        return ask(_scanned, path)()


def _scanned(path: Path) -> tuple[Exam, list[Path]]:
    from pipeline.catalog import exam_in, scan
    from pipeline.measurements import MEASUREMENT_CLASSES

    facts, _ = scan([path])
    measured = [i for i in facts if i.ref.sop_class_uid in MEASUREMENT_CLASSES and not i.ours]
    return exam_in(path), sorted(i.path for i in measured if i.path is not None)


def _document(
    exam: Exam, t1c: Volume, pre: Volume | None, proposed: ProposedRegions, faults: list[tuple[Path, ExamRejected]]
) -> dict[str, Any]:
    from pipeline.roi.export import grid_json

    return {
        "study_uid": exam.study_uid,
        "t1c": t1c.series_uid,
        "before_contrast": None if pre is None else pre.series_uid,
        "grid": grid_json(t1c.geometry, f"T1+C, series {t1c.series_uid}"),
        "regions": [_region(n, r, t1c) for n, r in enumerate(proposed.regions, 1)],
        "not_understood": [_not_used(n) for n in proposed.not_used] + [_unreadable(f, e) for f, e in faults],
    }


def _region(number: int, region: ProposedRegion, t1c: Volume) -> dict[str, Any]:
    measurement, proposal = region.placed.measurement, region.proposal
    voxels = int(proposal.mask.sum())
    return {
        "segment": number,
        "label": region.label,
        "role": measurement.role,
        "side": region.side,
        "number": measurement.lesion,
        "method": proposal.method,
        "quality": proposal.verdict,
        "figures": asdict(proposal.quality),
        "why": list(proposal.why),
        "voxels": voxels,
        "volume_mm3": round(voxels * t1c.geometry.voxel_mm3, 3),
        "file": None,
        "source_uid": measurement.source.sop_instance_uid,
        "measurement": measurement.number,
        "shape": measurement.shape,
        "written_label": measurement.label,
        "understood": measurement.why,
        "notes": [*measurement.notes, *region.placed.notes],
    }


def _not_used(entry: NotUsed) -> dict[str, Any]:
    return {
        "source_uid": entry.source.sop_instance_uid,
        "measurement": entry.number,
        "label": entry.label,
        "code": entry.code,
        "why": entry.why,
    }


def _unreadable(file: Path, error: ExamRejected) -> dict[str, Any]:
    return {
        "source_uid": error.uid,
        "measurement": None,
        "label": "",
        "code": error.code,
        "why": error.message,
        "file": str(file),
    }


def _write_masks(
    out: Path, t1c: Volume, regions: Sequence[ProposedRegion], entries: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """An NRRD for each node and, where there are several, each tumour, named in its entry; and one for each role, as
    `axrad roi` writes them of a segmentation. Returns what it says of the roles.
    """
    from pipeline.records import Mask, Segment
    from pipeline.roi.export import write_mask, write_rois
    from pipeline.roi.roles import Recognised

    names = _mask_names(regions)
    segments, roles = [], []
    for n, (region, entry, name) in enumerate(zip(regions, entries, names, strict=True), 1):
        entry["file"] = name
        measurement = region.placed.measurement
        mask = Mask(region.proposal.mask, t1c.geometry)
        write_mask(mask, out / name)
        segments.append(Segment(measurement.source, n, region.label, mask, laterality=region.side))
        roles.append(Recognised(measurement.role, measurement.why))
    return write_rois(segments, roles, out)


def _mask_names(regions: Sequence[ProposedRegion]) -> list[str]:
    """`node_2.nrrd`: by the number in the label where no two nodes have the same (the sides count separately), else in
    order. A single tumour is `tumor.nrrd`.
    """
    of_role = [region.placed.measurement.role for region in regions]
    numbers = [r.placed.measurement.lesion for r in regions if r.placed.measurement.role == "lymph_nodes"]
    by_label = None not in numbers and len(set(numbers)) == len(numbers)
    single = of_role.count("tumor") == 1
    names = []
    for n, role in enumerate(of_role):
        place = of_role[: n + 1].count(role)
        if role == "tumor":
            names.append("tumor.nrrd" if single else f"tumor_{place}.nrrd")
        else:
            names.append(f"node_{numbers[place - 1] if by_label else place}.nrrd")
    return names


def _write(out: Path, exam: Exam, t1c: Volume, proposed: ProposedRegions, settings: Settings) -> list[str]:
    from dicom_sr.proposal_segmentation import proposal_segmentation
    from dicom_sr.report_source import ReportSource
    from pipeline.pictures.region_sheet import draw_regions

    source = ReportSource.from_files(file_of(exam.images, t1c), began=now_at(settings))
    (out / SEGMENTATION).write_bytes(proposal_segmentation(proposed.regions, t1c, source, settings))
    draw_regions(t1c, [_picture(region, t1c) for region in proposed.regions], out / PICTURE)
    return [SEGMENTATION, PICTURE]


def now_at(settings: Settings) -> datetime:
    return datetime.now(UTC).astimezone(ZoneInfo(settings.site.timezone))


def file_of(images: Sequence[InstanceFacts], t1c: Volume) -> Path:
    return next(i.path for i in images if i.ref.series_uid == t1c.series_uid and i.path is not None)


def _picture(region: ProposedRegion, t1c: Volume) -> RegionPicture:
    import numpy as np

    from pipeline.pictures.region_sheet import RegionPicture
    from pipeline.proposal.records import Axes
    from pipeline.records import Mask

    marking, proposal = region.placed.marking, region.proposal
    if isinstance(marking, Axes):
        lines = tuple(np.array(axis) for axis in (marking.long, marking.short) if axis)
    else:
        lines = (np.array([*marking.points, marking.points[0]]),)
    volume = int(proposal.mask.sum()) * t1c.geometry.voxel_mm3 / 1000
    words = (region.label, f"{proposal.verdict}, {proposal.method}, {volume:.2f} ml", *proposal.why)
    mask = Mask(proposal.mask, t1c.geometry)
    return RegionPicture(mask, region.placed.measurement.role, region.side, lines, words)
