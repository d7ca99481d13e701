"""In which SOP Classes a report is made: the one that the settings name, and poorer ones for archives without it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from config.schema import Settings
from dicom_sr.kinds import REPORT_KINDS
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import BASIC_TEXT, COMPREHENSIVE, COMPREHENSIVE_3D, ENHANCED
from pipeline.records import InstanceRef

# Richest first: the name in the settings, the kind where it is not the one that `report` makes, and the SOP Class.
CLASSES = {
    "comprehensive_3d": ("sr_3d", COMPREHENSIVE_3D),
    "comprehensive": ("sr_comprehensive", COMPREHENSIVE),
    "enhanced": ("sr_enhanced", ENHANCED),
    "basic_text": ("sr_basic_text", BASIC_TEXT),
}


def sr_class(settings: Settings) -> str:
    """The SOP Class of the kind `sr`."""
    return COMPREHENSIVE_3D if settings.report.comprehensive_3d else COMPREHENSIVE


def choices(asked: str, settings: Settings) -> dict[str, str]:
    """SOP Class by kind, richest first, of what may go to a destination whose `sr` is `asked`.

    `auto` begins with the class that `report` makes.
    """
    main = sr_class(settings)
    rows = list(CLASSES.items())
    if asked == "auto":
        rows = rows[[sop_class for _, (_, sop_class) in rows].index(main) :]
    else:
        rows = [row for row in rows if row[0] == asked]
    return {"sr" if sop_class == main else kind: sop_class for _, (kind, sop_class) in rows}


def further_kinds(settings: Settings) -> tuple[str, ...]:
    """Kinds beside `sr` that a destination may be sent."""
    wanted = {kind for d in settings.destination if "sr" in d.what for kind in choices(d.sr, settings)}
    return tuple(kind for kind in REPORT_KINDS[1:] if kind in wanted)


def class_of(kind: str) -> str:
    """The SOP Class of a kind beside `sr`."""
    return next(sop_class for name, sop_class in CLASSES.values() if name == kind)


def source_for(source: ReportSource, sop_class: str) -> ReportSource:
    """`source` for a report that goes where `sr` does not: it does not name `sr`, and its predecessor is the report
    that was taken in the same class, if one was."""
    others = {kind: ref for kind, ref in source.objects.items() if kind != "sr"}
    return replace(source, objects=others, predecessor=_of_class(source, sop_class) or source.predecessor)


def _of_class(source: ReportSource, sop_class: str) -> InstanceRef | None:
    # Key slices are Comprehensive SR, too.
    if sop_class == COMPREHENSIVE:
        return None
    return next((ref for ref in source.superseded if ref.sop_class_uid == sop_class), None)


def taken_report(kinds: Iterable[str]) -> str | None:
    """Which of these kinds is the report, the richest one."""
    there = set(kinds)
    return next((kind for kind in REPORT_KINDS if kind in there), None)
