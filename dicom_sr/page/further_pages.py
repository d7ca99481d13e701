"""The pages after the first, on white paper: everything whole that the first page shortens or leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from config.schema import Settings
from dicom_sr import common_attributes, measurement_groups, sentences
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.language import Words, words_of
from dicom_sr.page import details_columns, fonts, paper, text_fitting
from dicom_sr.page.readable_names import day, person_name
from dicom_sr.page.sheet import Sheet
from dicom_sr.plain_reasons import plain
from dicom_sr.report_source import ReportSource
from pipeline.records import SEQUENCES, Side
from pipeline.records import Sequence as SequenceName
from pipeline.result import Part, SequenceChoice, StudyResult

BLACK, GREY, RULE = "#101418", "#4a555f", "#b9c1c8"
MARGIN, PX = 85.0, 17.0


class Pages:
    """Texts one below the other; a new sheet where one is full, each with the same head and foot."""

    def __init__(self, say: Words, size: paper.Paper, head: str, foot: str) -> None:
        self.sheets: list[Sheet] = []
        self.say = say
        self._size, self._head, self._foot = size, head, foot
        self._new()

    @property
    def _sheet(self) -> Sheet:
        return self.sheets[-1]

    @property
    def width(self) -> float:
        return self._sheet.width_px - 2 * MARGIN

    def _new(self) -> None:
        self.sheets.append(Sheet(*paper.size_px(self._size), paper.WHITE))
        self._sheet.text(MARGIN, 76, self._head, 15, width=self.width - 120, least=11, colour=GREY)
        self._sheet.line(MARGIN, 88, MARGIN + self.width, 88, RULE)
        self._y = 108.0
        self._bottom = self._sheet.height_px - 110

    def _line(self, x: float, text: str, px: float, colour: str = BLACK, *, bold: bool = False) -> None:
        if self._y + px * text_fitting.PITCH > self._bottom:
            self._new()
        self._sheet.paragraph(
            x, self._y, text, px, MARGIN + self.width - x, px * text_fitting.PITCH, colour=colour, bold=bold
        )

    def text(self, text: str, px: float = PX, colour: str = BLACK, *, indent: float = 0.0, bold: bool = False) -> None:
        """Wrapped, never cut."""
        for line in text_fitting.wrap(fonts.drawable(text), px, self.width - indent, bold=bold):
            self._line(MARGIN + indent, line, px, colour, bold=bold)
            self._y += px * text_fitting.PITCH

    def heading(self, text: str) -> None:
        self._y += 14
        if self._y + 80 > self._bottom:
            self._new()
        self.text(text, 20, bold=True)
        self._y += 4

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns of the same width."""
        share = self.width / len(heads)
        for n, row in enumerate([heads, *rows]):
            if self._y + PX * text_fitting.PITCH > self._bottom:
                self._new()
            for column, text in enumerate(row):
                place = MARGIN + column * share
                self._sheet.text(
                    place, self._y + PX, text, PX, width=share - 12, colour=BLACK if n else GREY, bold=not n
                )
            self._y += PX * text_fitting.PITCH + 2

    def finished(self) -> tuple[Sheet, ...]:
        """With the numbers of pages; the first page is another's."""
        for n, sheet in enumerate(self.sheets):
            bottom = sheet.height_px - 80
            sheet.line(MARGIN, bottom - 20, MARGIN + self.width, bottom - 20, RULE)
            sheet.text(MARGIN, bottom, self._foot, 15, width=self.width - 160, colour=BLACK, bold=True)
            number = self.say("page_number", number=n + 2, total=len(self.sheets) + 1)
            sheet.text(MARGIN + self.width, bottom, number, 15, width=140, colour=GREY, align="right")
        return tuple(self.sheets)


def more_pages(result: StudyResult, source: ReportSource, settings: Settings) -> tuple[Sheet, ...]:
    """Identity, answers with all reasons, regions with every node, sequences, checks, measurements, versions; what only
    machines read comes last."""
    say = words_of(settings)
    name = person_name(str(source.patient_study.get("PatientName") or "")) or say("no_name")
    demonstration = (say("demonstration"),) if result.demonstration else ()
    preliminary = (say("preliminary"),) if result.preliminary else ()
    identity = str(source.patient_study.get("PatientID") or "")
    pages = Pages(
        say,
        settings.report.paper,
        f"{identity} · {name}" if identity else name,
        say.listed((*preliminary, *demonstration, say("research"), say("not_verified")), "gap"),
    )
    _identity(pages, result, source, settings, name)
    pages.heading(say("answer"))
    if source.corrected_patient:
        pages.text(say("other_patient"))
    for side, part in _ordered(result):
        pages.text(sentences.conclusion(result, side, part, say))
        if part.prediction is not None and not part.prediction.in_training_range:
            pages.text(say("outside_training"), indent=20)
    _reasons(pages, result)
    _regions(pages, result)
    _sequences(pages, result)
    _checks(pages, result)
    _measurements(pages, result)
    _versions(pages, result, source, settings)
    _identifiers(pages, result)
    return pages.finished()


def _ordered(result: StudyResult) -> list[tuple[Side | None, Part]]:
    return sorted(result.parts(), key=lambda item: item[0] != "R")


def _side(result: StudyResult, side: Side | None, say: Words) -> str:
    return sentences.of_side(side, say) if result.sides else ""


def _identity(pages: Pages, result: StudyResult, source: ReportSource, settings: Settings, name: str) -> None:
    patient, say = source.patient_study, pages.say
    pages.text(name, 20, bold=True)
    absent = fonts.undrawable(name)
    if absent:
        pages.text(say("no_font_whole", codes=", ".join(f"U+{ord(c):04X}" for c in absent)), PX, GREY)
    facts = {
        "patient_id": patient.get("PatientID"),
        "born": day(patient.get("PatientBirthDate")),
        "sex": patient.get("PatientSex"),
        "exam_date": day(patient.get("StudyDate")),
        "accession": patient.get("AccessionNumber"),
        "study_description": patient.get("StudyDescription"),
        "institution": settings.site.institution,
        "revision_label": result.revision,
    }
    for label, value in facts.items():
        if value:
            pages.text(say("field", label=say(label), value=value))


def _reasons(pages: Pages, result: StudyResult) -> None:
    say = pages.say
    per_part = [(side, part) for side, part in _ordered(result) if part.reasons]
    of_parts = {reason for _, part in per_part for reason in part.reasons}
    whole = Part(reasons=tuple(reason for reason in result.reasons if reason not in of_parts))
    if not per_part and not whole.reasons:
        return
    pages.heading(say("reasons"))
    for side, part in (((None, whole),) if whole.reasons else ()) + tuple(per_part):
        for reason in sentences.reasons(result, part, say):
            pages.text(f"- {_side(result, side, say)}{reason}")


def _regions(pages: Pages, result: StudyResult) -> None:
    say = pages.say
    parts = [(side, part) for side, part in _ordered(result) if part.rois]
    if parts or result.left_out:
        pages.heading(say("regions_on"))
    for side, part in parts:
        for role, roi in sorted(part.rois.items(), reverse=True):
            segments = say.listed((d.label or say("segment", number=d.number) for d in roi.segment_details), "comma")
            what = details_columns.region_words(result, side, part, role, say)
            what = say("drawn_as", what=what, segments=segments) if segments else what
            if roi.origin != "drawn":
                what = say("made_by", what=what, algorithm=measurement_groups.maker(roi) or say("software"))
            if roi.confirmed_by:
                what = say("confirmed_by", what=what, who=roi.confirmed_by)
            pages.text(what)
            if roi.nodes:
                pages.table(
                    [say(f"head_{column}") for column in ("node", "segment", "short", "long", "volume")],
                    [
                        (
                            str(n.number),
                            str(n.segment),
                            f"{n.short_axis_mm:.1f}",
                            f"{n.long_axis_mm:.1f}",
                            f"{n.volume_mm3 / 1000:.3f}",
                        )
                        for n in roi.nodes
                    ],
                )
    for line in (sentences.left_out(result, say), sentences.change(result, say)):
        if line:
            pages.text(line)


def _sequences(pages: Pages, result: StudyResult) -> None:
    """Of each sequence the series; how it was recognised as far as this language tells it."""
    say = pages.say
    pages.heading(say("sequences_used"))
    for side, name, choice in _choices(result):
        if choice is None:
            why = plain(result.absent.get(name, ""), result, say)
            key = "sequence_none_why" if why else "sequence_none"
            pages.text(say(key, name=SEQUENCE_NAMES[name], **({"why": why} if why else {})))
            continue
        line = details_columns.sequence_words(SEQUENCE_NAMES[name], choice, say)
        pages.text(_side(result, side, say) + line)
        how = say.known(choice.why)
        if how:
            pages.text(how, 14, GREY, indent=20)


def _choices(result: StudyResult) -> Iterator[tuple[Side | None, SequenceName, SequenceChoice | None]]:
    """The sequences that sides have in common, then those of a side that was measured on others."""
    for side, sequences in ((None, result.sequences), *((s, p.sequences) for s, p in _ordered(result))):
        if side is None or sequences:
            yield from ((side, name, sequences.get(name)) for name in SEQUENCES)


def _checks(pages: Pages, result: StudyResult) -> None:
    say = pages.say
    pages.heading(say("checks"))
    if not result.quality:
        pages.text(say("none_made"))
    for check in sorted(result.quality, key=lambda c: c.ok):
        pages.text(say("check_passed" if check.ok else "check_failed", check=sentences.check(check, result, say)))


def _measurements(pages: Pages, result: StudyResult) -> None:
    say = pages.say
    answered = [(side, part.prediction) for side, part in _ordered(result) if part.prediction is not None]
    for side, prediction in answered:
        if prediction.top_features:
            beside = {"side": sentences.side_word(side, say)} if result.sides else {}
            pages.heading(say("what_drove_side" if beside else "what_drove_answer", **beside))
        for one in prediction.top_features:
            where, name = details_columns.feature_words(one, say)
            value = "" if one.value is None else say("value", value=f"{one.value:.6g}")
            key = "raises_the_risk" if one.contribution > 0 else "lowers_the_risk"
            pages.text(say(key, what=say("field", label=where, value=name), value=value))
        if prediction.others:
            others = f"{prediction.others_contribution:+.3g}"
            pages.text(say("others_together", count=prediction.others, contribution=others))


def _versions(pages: Pages, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    say = pages.say
    pages.heading(say("versions"))
    pages.text(say("signature", signature=common_attributes.signature_name(result)))
    given = common_attributes.software_versions(result)
    pages.text("; ".join([given] if isinstance(given, str) else given))
    began = common_attributes.began_local(source, settings).strftime("%Y-%m-%d %H:%M:%S %Z")
    pages.text(say("began", time=began))


def _identifiers(pages: Pages, result: StudyResult) -> None:
    say = pages.say
    pages.heading(say("identifiers"))
    values = {
        "study": result.study_uid,
        "signature_hash": result.signature.get("hash") or result.signature.get("sha256"),
        "settings_hash": result.settings_hash,
        "input_digest": result.input_digest,
    }
    for key, value in values.items():
        if value:
            pages.text(say(key, value=value), 14, GREY)
    for side, name, choice in _choices(result):
        if choice is not None:
            line = say("series_of", name=SEQUENCE_NAMES[name], value=choice.series_uid)
            pages.text(_side(result, side, say) + line, 14, GREY)
