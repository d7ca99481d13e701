"""What drove the answer and what it rests on: contributions, sequences, regions, checks, signature."""

from __future__ import annotations

from config.schema import Settings
from dicom_sr import header, ibsi, words
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.page.sheet import INK, LINE, ORANGE, QUIET, SIDE_PX, SKY, YELLOW, Sheet
from dicom_sr.source import ReportSource
from pipeline.records import SEQUENCES, Role, Side
from pipeline.result import Contribution, Part, StudyResult

_ROLES = {"tumor": "tumor", "lymph_nodes": "nodes"}


def draw_contributions(sheet: Sheet, part: Part, x: float, y: float, width: float, height: float) -> None:
    """The measurements with the largest say, as bars from a middle line: right raises the risk, left lowers it."""
    if part.prediction is None or not part.prediction.top_features:
        return
    sheet.text(x, y + 16, "What drove it", 16, bold=True)
    two_lines = height > 300
    pitch = 58.0 if two_lines else 42.0
    shown = part.prediction.top_features[: max(1, int((height - 44) // pitch))]
    rows = [(*feature_words(c), c.contribution) for c in shown]
    if part.prediction.others and 44 + pitch * (len(rows) + 1) <= height:
        rows.append(
            ("all others together", f"{part.prediction.others} measurements", part.prediction.others_contribution)
        )
    largest = max(abs(value) for *_, value in rows) or 1.0
    middle = x + width / 2
    sheet.arrow(x, y + 32, 9, SKY, right=False)
    sheet.text(x + 14, y + 36, "lowers risk", 13, colour=SKY)
    sheet.text(x + width - 14, y + 36, "raises risk", 13, colour=ORANGE, align="right")
    sheet.arrow(x + width, y + 32, 9, ORANGE, right=True)
    top = y + 46
    for where, name, value in rows:
        if two_lines:
            sheet.text(x, top + 13, where, 13, colour=QUIET, width=width)
            sheet.text(x, top + 29, name, 14, width=width)
        else:
            sheet.text(x, top + 13, f"{where}: {name}" if where else name, 13, width=width)
        length = width / 2 * abs(value) / largest
        raises = value > 0
        bar = top + (35 if two_lines else 18)
        sheet.box(middle if raises else middle - length, bar, length, 12, ORANGE if raises else SKY)
        sheet.line(middle, bar - 2, middle, bar + 14, INK, 2)
        top += pitch


def feature_words(contribution: Contribution) -> tuple[str, str]:
    """Where and what: ("ADC nodes, wavelet LLH", "Correlation of GLCM"); what is no radiomic feature has no place."""
    parsed = ibsi.FeatureName.parse(contribution.name)
    if parsed is None:
        return "clinical", contribution.name.replace("_", " ")
    coded = ibsi.concept(parsed)
    name = coded[0].meaning if coded is not None else f"{parsed.family} {parsed.feature}"
    where = f"{SEQUENCE_NAMES[parsed.sequence]} {_ROLES[parsed.role]}"
    return where if parsed.filter == "original" else f"{where}, {parsed.filter.replace('-', ' ')}", name


def draw_details(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    """Three columns: sequences, regions, checks that failed."""
    column = (width - 2 * 20) / 3
    _sequences(sheet, result, x, y, column)
    _regions(sheet, result, x + column + 20, y, column)
    _checks(sheet, result, x + 2 * (column + 20), y, column)


def _sequences(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    sheet.text(x, y + 16, "Sequences used", 17, bold=True)
    y += 40
    for sequence in SEQUENCES:
        choice = result.sequences.get(sequence)
        if choice is None:
            text = f"{SEQUENCE_NAMES[sequence]}: none"
        else:
            how = choice.phase.replace("_", " ") if choice.phase else ""
            if choice.computed_from_b:
                how = "from b " + "/".join(f"{b:g}" for b in choice.computed_from_b)
            text = SEQUENCE_NAMES[sequence] + (f" ({how})" if how else "")
            text += f": {choice.description or 'series without a name'}"
        sheet.text(x, y, text, 15, width=width, colour=INK if choice else YELLOW)
        y += 23


def _regions(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    sheet.text(x, y + 16, _regions_heading(result), 17, bold=True)
    y += 40
    for side, part in result.parts():
        for role, roi in sorted(part.rois.items(), reverse=True):
            where = _side(side if result.sides else None)
            text = f"{where}{_ROLES[role]}: {roi.volume_mm3 / 1000:.2f} cm³{_change(result, side, role)}"
            diameter = part.features.get(f"t1c.{role}.original_shape_Maximum3DDiameter")
            if diameter is not None and roi.count == 1:
                text += f", max. {diameter:.0f} mm"
            if role == "lymph_nodes":
                text += f", {roi.count} node{'s' if roi.count != 1 else ''}"
            sheet.text(x, y, text, 15, width=width)
            y += 23
            if roi.nodes:
                axes = ", ".join(f"{n.number}: {n.long_axis_mm:.0f} × {n.short_axis_mm:.0f}" for n in roi.nodes)
                sheet.text(x, y, f"node {axes} mm", 15, width=width, colour=QUIET)
                y += 23
    if result.left_out:
        names = ", ".join(one.label or f"segment {one.segment}" for one in result.left_out if one.segment is not None)
        sheet.text(x, y, f"left out: {names or 'an object that cannot be read'}", 15, width=width, colour=QUIET)


def _regions_heading(result: StudyResult) -> str:
    if result.change is None or result.change.why_not:
        return "Regions (T1+C)"
    day = result.change.study_date
    return f"Regions (against {day[:4]}-{day[4:6]}-{day[6:]})"


def _change(result: StudyResult, side: Side | None, role: Role) -> str:
    """How much the region has grown or shrunk since the earlier exam, in brackets."""
    part = result.change.parts.get(side or "") if result.change is not None else None
    if part is None or role not in part.volumes:
        return ""
    relative = part.volumes[role].relative
    return "" if relative is None else f" ({100 * relative:+.0f} %)"


def _side(side: Side | None) -> str:
    return f"{side} " if side else ""


def _checks(sheet: Sheet, result: StudyResult, x: float, y: float, width: float) -> None:
    failed = words.failed_checks(result)
    sheet.text(x, y + 16, "Quality checks" if not failed else "Quality checks failed", 17, bold=True)
    y += 40
    if not failed:
        passed = len(result.quality)
        sheet.text(x, y, f"all {passed} passed" if passed else "none made", 15, colour=QUIET)
    for line in failed[:3]:
        sheet.triangle(x + 6, y - 12, 12, YELLOW, up=True)
        y = sheet.paragraph(x + 18, y, line, 15, width - 18, lines=2, colour=YELLOW) + 2
    if len(failed) > 3:
        sheet.text(x, y, f"and {len(failed) - 3} more, see the report", 15, colour=YELLOW)


def draw_footer(sheet: Sheet, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    y = SIDE_PX - 40
    began = header.began_local(source, settings)
    sheet.line(24, y - 14, SIDE_PX - 24, y - 14, LINE)
    version = result.software.get("axrad", "")
    left = f"{header.signature_name(result)} · axrad {version}".rstrip()
    sheet.text(24, y + 4, left, 15, colour=QUIET, width=620)
    sheet.text(SIDE_PX - 24, y + 4, began.strftime("%Y-%m-%d %H:%M %Z"), 15, colour=QUIET, align="right")
    sheet.text(24, y + 26, f"{words.RESEARCH} {words.NOT_VERIFIED}", 16, bold=True)
