"""The answer in words and on a scale."""

from __future__ import annotations

from dicom_sr import sentences
from dicom_sr.language import Words
from dicom_sr.page import text_fitting
from dicom_sr.page.sheet import BACKGROUND, INK, LINE, ORANGE, PANEL, QUIET, SKY, YELLOW, Sheet
from dicom_sr.plain_reasons import plain
from pipeline.records import Side
from pipeline.result import Part, Prediction, StudyResult

# Indeterminate has the colour of neither answer.
_COLOURS = {"high": ORANGE, "low": SKY, "indeterminate": INK}


def draw_answer(
    sheet: Sheet, say: Words, result: StudyResult, side: Side | None, part: Part, x: float, y: float, width: float
) -> float:
    """Question, answer and scale of one side; the y below."""
    narrow = width < 600
    big, small = (40.0, 18.0) if narrow else (58.0, 22.0)
    question = say("short_question" if narrow else "question")
    if side is not None:
        question = say("question_left" if side == "L" else "question_right", question=question)
    prediction = part.prediction
    beside = 0.0
    if prediction is not None:
        beside = 24 + sheet.text(x + width, y + 24, say("probability"), small, width=130, colour=QUIET, align="right")
    sheet.text(x, y + 24, question, small, colour=QUIET, width=width - beside)
    if prediction is None:
        sheet.text(x, y + 34 + big, say("answer_not_evaluated"), big, width=width, bold=True)
        return sheet.paragraph(x, y + 50 + big, sentences.why_not(result, part, say), 19, width, 104, least=12) + 12
    label, colour = say(f"answer_{prediction.category}"), _COLOURS[prediction.category]
    shown, _ = _shown(prediction)
    number = sheet.text(x + width, y + 34 + big, shown, big, width=width / 2, bold=True, align="right")
    sheet.text(x, y + 34 + big, label, big, width=width - number - 24, bold=True, colour=colour)
    return _scale(sheet, say, result, prediction, colour, x, y + 74 + big, width)


def _shown(prediction: Prediction) -> tuple[str, str]:
    """Probability and cutoff as large print has room for: at most one decimal."""
    whole = (sentences.percent(prediction.probability), sentences.percent(prediction.cutoff))
    if whole[0] != whole[1] or prediction.probability == prediction.cutoff:
        return whole
    return sentences.percent(prediction.probability, 1), sentences.percent(prediction.cutoff, 1)


def _scale(
    sheet: Sheet,
    say: Words,
    result: StudyResult,
    prediction: Prediction,
    colour: str,
    x: float,
    y: float,
    width: float,
) -> float:
    """0 to 100 %: low side and high side of the cutoff, the conformal band where there is one, and the answer on it."""

    def at(share: float) -> float:
        return x + width * min(1.0, max(0.0, share))

    height = 20.0
    cut, place = at(prediction.cutoff), at(prediction.probability)
    sheet.box(x, y, cut - x, height, "#23506b")
    sheet.box(cut, y, x + width - cut, height, "#7a5a14")
    if cut - x > 60 and place > x + 60:
        sheet.text(x + 8, y + 15, say("scale_low"), 14, width=44, bold=True)
    if x + width - cut > 66 and place < x + width - 66:
        sheet.text(x + width - 8, y + 15, say("scale_high"), 14, width=50, bold=True, align="right")
    if prediction.conformal_band is not None:
        low, high = (at(p) for p in prediction.conformal_band)
        sheet.box(low, y, high - low, height, PANEL, edge=QUIET, hatch="////")
    sheet.line(cut, y - 7, cut, y + height + 7, INK, 3)
    sheet.box(place - 4, y - 3, 8, height + 6, INK, edge=BACKGROUND)
    sheet.triangle(place, y - 3, 15, colour)
    _ticks(sheet, say, prediction, cut, x, y + height + 21, width)
    y = _remarks(sheet, say, result, prediction, x, y + height + 26, width)
    sheet.line(x, y + 6, x + width, y + 6, LINE)
    return y + 8


def _ticks(sheet: Sheet, say: Words, prediction: Prediction, cut: float, x: float, y: float, width: float) -> None:
    """The ends of the scale, and between them the cutoff, as near to its place as they leave room."""
    zero = sheet.text(x, y - 1, "0 %", 14, width=60, colour=QUIET)
    hundred = sheet.text(x + width, y - 1, "100 %", 14, width=60, colour=QUIET, align="right")
    shown, cutoff = _shown(prediction)
    text = say("cutoff", cutoff=cutoff) if shown != cutoff else sentences.comparison(prediction, say)
    room = width - zero - hundred - 48
    half = min(room, text_fitting.width(text, 16)) / 2
    centre = min(max(cut, x + zero + 24 + half), x + width - hundred - 24 - half)
    sheet.text(centre, y, text, 16, width=room, least=12, align="center")


def _remarks(
    sheet: Sheet, say: Words, result: StudyResult, prediction: Prediction, x: float, y: float, width: float
) -> float:
    """What qualifies the answer, line by line; the y below."""
    if prediction.conformal_band is not None:
        note = say("hatched")
        if prediction.conformal_alpha is not None:
            note = say("hatched_conformal", level=f"{100 * (1 - prediction.conformal_alpha):.0f} %")
        y = sheet.paragraph(x, y, note, 14, width, 20, colour=QUIET)
    if not prediction.in_training_range:
        y = sheet.paragraph(x, y, say("outside_training"), 15, width, 21, least=11, colour=YELLOW)
    if prediction.fallback:
        fallback = plain(prediction.fallback, result, say)
        y = sheet.paragraph(x, y, fallback, 15, width, 42, least=11, colour=YELLOW)
    return y
