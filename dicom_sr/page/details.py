"""What drove the answer and what it rests on: contributions, sequences, regions, checks, signature."""

from __future__ import annotations

from config.schema import Settings
from dicom_sr import header, ibsi, words
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.page.sheet import INK, LINE, ORANGE, QUIET, SIDE_PX, SKY, YELLOW, Sheet
from dicom_sr.source import ReportSource
from pipeline.records import SEQUENCES, Side
from pipeline.result import Contribution, Part, StudyResult

_ROLES = {"tumor": "tumor", "lymph_nodes": "nodes"}


def draw_contributions(sheet: Sheet, part: Part, x: float, y: float, width: float, height: float) -> None:
    """The measurements with the largest say, as bars from a middle line: right raises the risk, left lowers it."""
    if part.prediction is None or not part.prediction.top_features:
        return
    sheet.text(x, y + 16, "What drove it", 16, bold=True)
    pitch = 44.0
    shown = part.prediction.top_features[: max(1, int((height - 44) // pitch))]
    largest = max(abs(c.contribution) for c in shown) or 1.0
    middle = x + width / 2
    sheet.text(x, y + 36, "◀ lowers risk", 13, colour=SKY)
    sheet.text(x + width, y + 36, "raises risk ▶", 13, colour=ORANGE, align="right")
    top = y + 46
    for contribution in shown:
        sheet.text(x, top + 13, feature_words(contribution), 12.5, colour=INK, width=width)
        length = width / 2 * abs(contribution.contribution) / largest
        raises = contribution.contribution > 0
        sheet.box(middle if raises else middle - length, top + 19, length, 13, ORANGE if raises else SKY)
        top += pitch
    sheet.line(middle, y + 62, middle, top - 10, QUIET)


def feature_words(contribution: Contribution) -> str:
    """`ADC nodes: Correlation of GLCM (LLH)`, or the name as it is for what is no radiomic feature."""
    parsed = ibsi.FeatureName.parse(contribution.name)
    if parsed is None:
        return contribution.name.replace("_", " ")
    coded = ibsi.concept(parsed)
    name = coded[0].meaning if coded is not None else f"{parsed.family} {parsed.feature}"
    text = f"{SEQUENCE_NAMES[parsed.sequence]} {_ROLES[parsed.role]}: {name}"
    return text if parsed.filter == "original" else f"{text} ({parsed.filter.removeprefix('wavelet-')})"


def draw_details(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    """Three columns: sequences, regions, checks that failed."""
    column = (width - 2 * 20) / 3
    _sequences(sheet, result, x, y, column)
    _regions(sheet, result, x + column + 20, y, column)
    _checks(sheet, result, x + 2 * (column + 20), y, column)


def _sequences(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    sheet.text(x, y + 16, "Sequences used", 16, bold=True)
    y += 36
    for sequence in SEQUENCES:
        choice = result.sequences.get(sequence)
        if choice is None:
            text = f"{SEQUENCE_NAMES[sequence]}: none"
        else:
            text = f"{SEQUENCE_NAMES[sequence]}: {choice.description or 'series without a name'}"
            if choice.phase:
                text += f", {choice.phase.replace('_', ' ')}"
            if choice.computed_from_b:
                text += ", computed from b " + "/".join(f"{b:g}" for b in choice.computed_from_b)
        sheet.text(x, y, text, 14, width=width, colour=INK if choice else YELLOW)
        y += 20


def _regions(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    sheet.text(x, y + 16, "Regions (T1+C)", 16, bold=True)
    y += 36
    for side, part in result.parts():
        for role, roi in sorted(part.rois.items(), reverse=True):
            where = _side(side if result.sides else None)
            text = f"{where}{_ROLES[role]}: {roi.volume_mm3 / 1000:.2f} cm³"
            diameter = part.features.get(f"t1c.{role}.original_shape_Maximum3DDiameter")
            if diameter is not None:
                text += f", max. {diameter:.0f} mm"
            if role == "lymph_nodes":
                text += f", {roi.nodes} node{'s' if roi.nodes != 1 else ''}"
            sheet.text(x, y, text, 14, width=width)
            y += 20


def _side(side: Side | None) -> str:
    return f"{words.SIDE_WORDS[side]} " if side else ""


def _checks(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    failed = words.failed_checks(result)
    sheet.text(x, y + 16, "Quality checks" if not failed else "Quality checks failed", 16, bold=True)
    y += 36
    if not failed:
        passed = len(result.quality)
        sheet.text(x, y, f"all {passed} passed" if passed else "none made", 14, colour=QUIET)
    for line in failed[:3]:
        sheet.text(x, y, f"▲ {line}", 14, colour=YELLOW, width=width)
        y += 20
    if len(failed) > 3:
        sheet.text(x, y, f"and {len(failed) - 3} more, see the report", 14, colour=YELLOW)


def draw_footer(sheet: Sheet, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    y = SIDE_PX - 40
    began = header.began_local(source, settings)
    sheet.line(24, y - 14, SIDE_PX - 24, y - 14, LINE)
    version = result.software.get("axrad", "")
    left = f"{header.signature_name(result)} · axrad {version}".rstrip()
    sheet.text(24, y + 4, left, 14, colour=QUIET, width=620)
    sheet.text(SIDE_PX - 24, y + 4, began.strftime("%Y-%m-%d %H:%M %Z"), 14, colour=QUIET, align="right")
    sheet.text(24, y + 26, f"{words.RESEARCH} {words.NOT_VERIFIED}", 16, bold=True)
