"""What drove the answer and what it rests on: contributions, sequences, regions, checks, signature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.schema import Settings
from dicom_sr import common_attributes, feature_codes, plain_reasons, sentences
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.language import Words
from dicom_sr.page import fonts, text_fitting
from dicom_sr.page.sheet import INK, LINE, ORANGE, QUIET, SIDE_PX, SKY, YELLOW, Sheet
from dicom_sr.report_source import ReportSource
from pipeline.records import SEQUENCES, Role, Side
from pipeline.records import Sequence as SequenceName
from pipeline.result import Contribution, Part, RoiSummary, SequenceChoice, StudyResult

_HEADING, _GAP = 28.0, 4.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A text of a column, wrapped into at most `lines` lines; `warns`: with a warning triangle before it."""

    text: str
    colour: str = INK
    px: float = 15
    lines: int = 1
    warns: bool = False

    @property
    def indent(self) -> float:
        return 18.0 if self.warns else 0.0

    def height(self, width: float) -> float:
        room = self.lines * self.px * text_fitting.PITCH
        wrapped, size, _ = text_fitting.lines(
            fonts.drawable(self.text), self.px, self.px * 0.8, width - self.indent, room, bold=False
        )
        return len(wrapped) * size * text_fitting.PITCH + _GAP


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    entries: tuple[Entry, ...]

    def height(self, width: float) -> float:
        """What it takes to show everything."""
        return _HEADING + sum(entry.height(width) for entry in self.entries)


def draw_contributions(sheet: Sheet, say: Words, part: Part, x: float, y: float, width: float, height: float) -> None:
    """The measurements with the largest say, as bars from a middle line: right raises the risk, left lowers it."""
    if part.prediction is None or not part.prediction.top_features:
        return
    sheet.text(x, y + 16, say("what_drove"), 16, width=width, bold=True)
    two_lines = height > 300
    pitch = 58.0 if two_lines else 42.0
    shown = part.prediction.top_features[: max(1, int((height - 44) // pitch))]
    rows = [(*feature_words(c, say), c.contribution) for c in shown]
    if part.prediction.others and 44 + pitch * (len(rows) + 1) <= height:
        count = say("measurements", count=part.prediction.others)
        rows.append((say("all_others"), count, part.prediction.others_contribution))
    largest = max(abs(value) for *_, value in rows) or 1.0
    middle, half = x + width / 2, width / 2 - 20
    sheet.arrow(x, y + 32, 9, SKY, right=False)
    sheet.text(x + 14, y + 36, say("lowers"), 13, width=half, colour=SKY)
    sheet.text(x + width - 14, y + 36, say("raises"), 13, width=half, colour=ORANGE, align="right")
    sheet.arrow(x + width, y + 32, 9, ORANGE, right=True)
    top = y + 46
    for where, name, value in rows:
        if two_lines:
            sheet.text(x, top + 13, where, 13, colour=QUIET, width=width)
            sheet.text(x, top + 29, name, 14, width=width, least=11.5)
        else:
            sheet.text(x, top + 13, say("field", label=where, value=name), 13, width=width, least=11)
        length = width / 2 * abs(value) / largest
        raises = value > 0
        bar = top + (35 if two_lines else 18)
        sheet.box(middle if raises else middle - length, bar, length, 12, ORANGE if raises else SKY)
        sheet.line(middle, bar - 2, middle, bar + 14, INK, 2)
        top += pitch


def feature_words(contribution: Contribution, say: Words) -> tuple[str, str]:
    """Where and what: ("ADC nodes, wavelet LLH", "Correlation of GLCM"); what is no radiomic feature has no place."""
    parsed = feature_codes.FeatureName.parse(contribution.name)
    if parsed is None:
        return say("clinical"), sentences.readable_input(contribution.name, say)
    where, name = plain_reasons.feature_words(parsed, say)
    return where.replace(plain_reasons.region_words(parsed.role, say), say(f"short_{parsed.role}")), name


def columns(result: StudyResult, say: Words) -> tuple[Column, Column, Column]:
    """Sequences, regions, checks that failed."""
    failed = sentences.failed_checks(result, say)
    passed = len(result.quality)
    fine = Entry(say("all_passed", count=passed) if passed else say("none_made"), QUIET)
    return (
        Column(say("sequences_used"), tuple(Entry(*_sequence(result, s, say)) for s in SEQUENCES)),
        Column(_regions_heading(result, say), tuple(_regions(result, say))),
        Column(
            say("checks_that_failed" if failed else "checks"),
            tuple(Entry(line, YELLOW, lines=2, warns=True) for line in failed) or (fine,),
        ),
    )


def details_height(result: StudyResult, say: Words, width: float) -> float:
    """What the three columns take in all."""
    return max(column.height(_share(width)) for column in columns(result, say))


def draw_details(
    sheet: Sheet, say: Words, result: StudyResult, x: float, y: float, width: float, height: float
) -> None:
    """The three columns; one that is too long for `height` says that it goes on."""
    share = _share(width)
    for n, column in enumerate(columns(result, say)):
        _draw_column(sheet, say, column, x + n * (share + 20), y, share, height)


def _share(width: float) -> float:
    return (width - 2 * 20) / 3


def _draw_column(sheet: Sheet, say: Words, column: Column, x: float, y: float, width: float, height: float) -> None:
    sheet.text(x, y + 17, column.heading, 17, width=width, bold=True)
    bottom = y + height
    fits = column.height(width) <= height
    y += _HEADING
    for n, entry in enumerate(column.entries):
        needed = entry.height(width)
        if y + needed + (0 if fits or n == len(column.entries) - 1 else 20) > bottom + 0.01:
            sheet.cut += [e.text for e in column.entries[n:]]
            if y + 18 <= bottom:
                more = say("more_entries", count=len(column.entries) - n)
                sheet.text(x, y + 13, more, 13, width=width, colour=entry.colour)
            return
        if entry.warns:
            sheet.triangle(x + 6, y + 3, 12, YELLOW, up=True)
        room = entry.lines * entry.px * text_fitting.PITCH
        sheet.paragraph(x + entry.indent, y, entry.text, entry.px, width - entry.indent, room, colour=entry.colour)
        y += needed


def _sequence(result: StudyResult, sequence: SequenceName, say: Words) -> tuple[str, str]:
    """A line on one sequence and its colour."""
    choice = result.sequences.get(sequence)
    name = SEQUENCE_NAMES[sequence]
    return (say("sequence_none", name=name), YELLOW) if choice is None else (sequence_words(name, choice, say), INK)


def sequence_words(name: str, choice: SequenceChoice, say: Words) -> str:
    """`T1+C (first post): t1_fl3d_tra_dyn`."""
    how = (say.known(choice.phase) or say.named(choice.phase)).replace("_", " ") if choice.phase else ""
    if choice.computed_from_b:
        how = say("from_b", values="/".join(f"{b:g}" for b in choice.computed_from_b))
    description = choice.description or say("unnamed_series")
    if how:
        return say("sequence_line_how", name=name, how=how, description=description)
    return say("sequence_line", name=name, description=description)


def _regions(result: StudyResult, say: Words) -> Iterator[Entry]:
    for side, part in result.parts():
        for role, roi in sorted(part.rois.items(), reverse=True):
            yield Entry(region_words(result, side, part, role, say), lines=2)
            if roi.nodes:
                yield Entry(short_axes(roi, say), QUIET, 14, 8)
    if result.left_out:
        named = [one for one in result.left_out if one.segment is not None]
        names = say.listed((one.label or say("segment", number=one.segment) for one in named), "comma")
        yield Entry(say("left_out_short", names=names or say("unreadable_object")), QUIET, lines=2)


def region_words(result: StudyResult, side: Side | None, part: Part, role: Role, say: Words) -> str:
    """`L nodes: 0.90 cm³, 3 nodes`; the side only where there are two."""
    roi = part.rois[role]
    where = say.named(side) + say("after_side") if result.sides and side else ""
    volume, region = f"{roi.volume_mm3 / 1000:.2f}", say(f"short_{role}")
    text = say("region_volume", where=where, region=region, volume=volume, change=_change(result, side, role))
    diameter = part.features.get(f"{roi.drawn_on}.{role}.original_shape_Maximum3DDiameter")
    if diameter is not None and roi.count == 1:
        text = say("beside_region", region=text, fact=say("max_diameter", diameter=f"{diameter:.0f}"))
    if role == "lymph_nodes":
        count = say("one_node") if roi.count == 1 else say("nodes", count=roi.count)
        text = say("beside_region", region=text, fact=count)
    return say("beside_region", region=text, fact=say("unconfirmed")) if roi.unconfirmed else text


def short_axes(roi: RoiSummary, say: Words) -> str:
    """`short axis in mm: node 1=11.2, 2=7.5`."""
    return say("short_axes", nodes=", ".join(f"{n.number}={n.short_axis_mm:.1f}" for n in roi.nodes))


def _regions_heading(result: StudyResult, say: Words) -> str:
    if result.change is None or result.change.why_not:
        return say("regions_heading")
    day = result.change.study_date
    return say("regions_against", date=f"{day[:4]}-{day[4:6]}-{day[6:]}")


def _change(result: StudyResult, side: Side | None, role: Role) -> str:
    """How much the region has grown or shrunk since the earlier exam, in brackets."""
    part = result.change.parts.get(side or "") if result.change is not None else None
    if part is None or role not in part.volumes:
        return ""
    relative = part.volumes[role].relative
    return "" if relative is None else f" ({100 * relative:+.0f} %)"


def draw_footer(sheet: Sheet, say: Words, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    """Signature, version, time, and that nobody has verified it."""
    y = SIDE_PX - 40
    sheet.line(24, y - 14, SIDE_PX - 24, y - 14, LINE)
    began = common_attributes.began_local(source, settings).strftime("%Y-%m-%d %H:%M %Z")
    time = sheet.text(SIDE_PX - 24, y + 4, began, 15, width=300, colour=QUIET, align="right")
    pieces = (
        text_fitting.Piece(common_attributes.signature_name(result), 0, "end", QUIET),
        text_fitting.Piece(f"axrad {result.software.get('axrad', '')}".rstrip(), 1, "start", QUIET),
    )
    sheet.row(24, y + 4, pieces, 15, SIDE_PX - 48 - time - 24, 12)
    sheet.text(24, y + 26, say.listed((say("research"), say("not_verified")), "gap"), 16, width=SIDE_PX - 48, bold=True)
