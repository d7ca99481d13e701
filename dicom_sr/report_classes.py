"""In which SOP Classes a report is made: the one that the settings name, and poorer ones for archives without it."""

from __future__ import annotations

from collections.abc import Iterable

from config.schema import Settings
from dicom_sr.kinds import REPORT_KINDS, kind_of
from dicom_sr.sop_classes import BASIC_TEXT, COMPREHENSIVE, COMPREHENSIVE_3D, ENHANCED

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


def class_of(kind: str, settings: Settings) -> str:
    """The SOP Class of a kind of report."""
    if kind == "sr":
        return sr_class(settings)
    return next(sop_class for name, sop_class in CLASSES.values() if name == kind)


def taken_report(names: Iterable[str]) -> str | None:
    """Which of these names of objects is the report, the richest one."""
    by_kind = {kind_of(name): name for name in names}
    return next((by_kind[kind] for kind in REPORT_KINDS if kind in by_kind), None)
