"""The pages after the first, on white paper: everything whole that the first page shortens or leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from config.schema import Settings
from dicom_sr import common_attributes, sentences
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.page import answer, details_columns, fonts, paper, text_fitting
from dicom_sr.page.readable_names import day, person_name
from dicom_sr.page.sheet import Sheet
from dicom_sr.report_source import ReportSource
from pipeline.records import SEQUENCES, Side
from pipeline.result import Part, QualityCheck, StudyResult

BLACK, GREY, RULE = "#101418", "#4a555f", "#b9c1c8"
MARGIN, PX = 85.0, 17.0


class Pages:
    """Texts one below the other; a new sheet where one is full, each with the same head and foot."""

    def __init__(self, size: paper.Paper, head: str, foot: str) -> None:
        self.sheets: list[Sheet] = []
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
            number = f"page {n + 2} of {len(self.sheets) + 1}"
            sheet.text(MARGIN + self.width, bottom, number, 15, width=140, colour=GREY, align="right")
        return tuple(self.sheets)


def more_pages(result: StudyResult, source: ReportSource, settings: Settings) -> tuple[Sheet, ...]:
    """Identity, answers with all reasons, regions with every node, sequences, checks, measurements and versions."""
    name = person_name(str(source.patient_study.get("PatientName") or "")) or "(no name)"
    demonstration = f"{sentences.DEMONSTRATION} " if result.demonstration else ""
    identity = str(source.patient_study.get("PatientID") or "")
    pages = Pages(
        settings.report.paper,
        f"{identity} · {name}" if identity else name,
        f"{demonstration}{sentences.RESEARCH} {sentences.NOT_VERIFIED}",
    )
    _identity(pages, result, source, settings, name)
    pages.heading("Answer")
    if source.corrected_patient:
        pages.text(sentences.OTHER_PATIENT)
    for side, part in _ordered(result):
        pages.text(sentences.conclusion(result, side, part))
        if part.prediction is not None and not part.prediction.in_training_range:
            pages.text(answer.OUTSIDE, indent=20)
    _reasons(pages, result)
    _regions(pages, result)
    _sequences(pages, result)
    _checks(pages, result)
    _measurements(pages, result)
    _versions(pages, result, source, settings)
    return pages.finished()


def _ordered(result: StudyResult) -> list[tuple[Side | None, Part]]:
    return sorted(result.parts(), key=lambda item: item[0] != "R")


def _side(result: StudyResult, side: Side | None) -> str:
    return f"{sentences.SIDE_WORDS[side]} " if result.sides and side else ""


def _identity(pages: Pages, result: StudyResult, source: ReportSource, settings: Settings, name: str) -> None:
    patient = source.patient_study
    pages.text(name, 20, bold=True)
    absent = fonts.undrawable(name)
    if absent:
        codes = ", ".join(f"U+{ord(c):04X}" for c in absent)
        pages.text(f"No font here draws these characters of the name, shown as boxes: {codes}", PX, GREY)
    facts = {
        "Patient ID": patient.get("PatientID"),
        "born": day(patient.get("PatientBirthDate")),
        "sex": patient.get("PatientSex"),
        "exam of": day(patient.get("StudyDate")),
        "Accession Number": patient.get("AccessionNumber"),
        "Study Description": patient.get("StudyDescription"),
        "institution": settings.site.institution,
        "revision": result.revision,
    }
    for label, value in facts.items():
        if value:
            pages.text(f"{label}: {value}")


def _reasons(pages: Pages, result: StudyResult) -> None:
    per_part = [(side, reason) for side, part in _ordered(result) for reason in part.reasons]
    whole = [reason for reason in result.reasons if reason not in {text for _, text in per_part}]
    if not per_part and not whole:
        return
    pages.heading("Reasons")
    for reason in whole:
        pages.text(f"- {reason}")
    for side, reason in per_part:
        pages.text(f"- {_side(result, side)}{reason}")


def _regions(pages: Pages, result: StudyResult) -> None:
    parts = [(side, part) for side, part in _ordered(result) if part.rois]
    if parts or result.left_out:
        pages.heading("Regions on T1+C")
    for side, part in parts:
        for role, roi in sorted(part.rois.items(), reverse=True):
            segments = ", ".join(d.label or f"segment {d.number}" for d in roi.segment_details)
            what = details_columns.region_words(result, side, part, role)
            pages.text(f"{what}; drawn as {segments}" if segments else what)
            if roi.nodes:
                pages.table(
                    ("node", "segment", "short axis, mm", "long axis, mm", "volume, cm³"),
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
    for line in (sentences.left_out(result), sentences.change(result)):
        if line:
            pages.text(line)


def _sequences(pages: Pages, result: StudyResult) -> None:
    pages.heading("Sequences used")
    for side, sequences in ((None, result.sequences), *((s, p.sequences) for s, p in _ordered(result))):
        if side is not None and not sequences:
            continue
        for name in SEQUENCES:
            choice = sequences.get(name)
            if choice is None:
                why = result.absent.get(name)
                pages.text(f"{SEQUENCE_NAMES[name]}: none" + (f" ({why})" if why else ""))
                continue
            pages.text(_side(result, side) + details_columns.sequence_words(SEQUENCE_NAMES[name], choice))
            pages.text(f"{choice.why}; series {choice.series_uid}", 14, GREY, indent=20)


def _checks(pages: Pages, result: StudyResult) -> None:
    pages.heading("Quality checks")
    if not result.quality:
        pages.text("none made")
    for line in _check_lines(result.quality):
        pages.text(line)


def _check_lines(checks: Sequence[QualityCheck]) -> Iterator[str]:
    for check in sorted(checks, key=lambda c: c.ok):
        yield f"{'passed' if check.ok else 'FAILED'}: {sentences.check(check)}"


def _measurements(pages: Pages, result: StudyResult) -> None:
    answered = [(side, part.prediction) for side, part in _ordered(result) if part.prediction is not None]
    for side, prediction in answered:
        if prediction.top_features:
            pages.heading(f"What drove the answer{f', {sentences.SIDE_WORDS[side]}' if result.sides else ''}")
        for one in prediction.top_features:
            where, name = details_columns.feature_words(one)
            value = "" if one.value is None else f", value {one.value:.6g}"
            pages.text(f"{where}: {name}{value}, {'raises' if one.contribution > 0 else 'lowers'} the risk")
        if prediction.others:
            pages.text(f"{prediction.others} others together: {prediction.others_contribution:+.3g}")


def _versions(pages: Pages, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    pages.heading("Versions")
    pages.text(f"signature {common_attributes.signature_name(result)}")
    given = common_attributes.software_versions(result)
    pages.text("; ".join([given] if isinstance(given, str) else given))
    began = common_attributes.began_local(source, settings).strftime("%Y-%m-%d %H:%M:%S %Z")
    pages.text(f"analysis began {began}")
    hashes = {
        "signature hash": result.signature.get("hash"),
        "settings hash": result.settings_hash,
        "input digest": result.input_digest,
        "study": result.study_uid,
    }
    for label, value in hashes.items():
        if value:
            pages.text(f"{label} {value}", 14, GREY)
