"""The answer in words and on a scale."""

from __future__ import annotations

from dicom_sr import words
from dicom_sr.page.sheet import BACKGROUND, INK, LINE, ORANGE, PANEL, QUIET, SKY, YELLOW, Sheet
from pipeline.records import Side
from pipeline.result import Part, Prediction, StudyResult

_ANSWERS = {"high": ("HIGH RISK", ORANGE), "low": ("LOW RISK", SKY), "indeterminate": ("INDETERMINATE", INK)}
_SIDES: dict[Side | None, str] = {"L": "LEFT: ", "R": "RIGHT: ", None: ""}


def draw_answer(
    sheet: Sheet, result: StudyResult, side: Side | None, part: Part, x: float, y: float, width: float
) -> float:
    """Question, answer and scale of one side; the y below."""
    narrow = width < 600
    big = 40 if narrow else 58
    question = _SIDES[side] + (words.SHORT_QUESTION if narrow else words.QUESTION)
    sheet.text(x, y + 24, question, 18 if narrow else 22, colour=QUIET, width=width - 120)
    prediction = part.prediction
    if prediction is None:
        sheet.text(x, y + 34 + big, "NOT EVALUATED", big, bold=True, colour=INK)
        why = "; ".join(part.reasons or result.reasons) or "no reason was recorded"
        return sheet.paragraph(x, y + 74 + big, why, 19, width, lines=4) + 8
    label, colour = _ANSWERS[prediction.category]
    sheet.text(x + width, y + 24, "probability", 18 if narrow else 22, colour=QUIET, align="right")
    sheet.text(x, y + 34 + big, label, big, bold=True, colour=colour)
    sheet.text(x + width, y + 34 + big, words.percent(prediction.probability), big, bold=True, align="right")
    return _scale(sheet, prediction, colour, x, y + 74 + big, width)


def _scale(sheet: Sheet, prediction: Prediction, colour: str, x: float, y: float, width: float) -> float:
    """0 to 100 %: low side and high side of the cutoff, the conformal band where there is one, and the answer on it."""

    def at(share: float) -> float:
        return x + width * min(1.0, max(0.0, share))

    height = 20.0
    cut = at(prediction.cutoff)
    sheet.box(x, y, cut - x, height, "#23506b")
    sheet.box(cut, y, x + width - cut, height, "#7a5a14")
    place = at(prediction.probability)
    if cut - x > 60 and place > x + 60:
        sheet.text(x + 8, y + 15, "LOW", 14, bold=True)
    if x + width - cut > 60 and place < x + width - 66:
        sheet.text(x + width - 8, y + 15, "HIGH", 14, bold=True, align="right")
    if prediction.conformal_band is not None:
        low, high = (at(p) for p in prediction.conformal_band)
        sheet.box(low, y, high - low, height, PANEL, edge=QUIET, hatch="////")
    sheet.line(cut, y - 7, cut, y + height + 7, INK, 3)
    sheet.box(place - 4, y - 3, 8, height + 6, INK, edge=BACKGROUND)
    sheet.triangle(place, y - 3, 15, colour)
    for tick in (0.0, 1.0):
        sheet.text(
            at(tick), y + height + 20, f"{100 * tick:.0f} %", 14, colour=QUIET, align="left" if tick == 0 else "right"
        )
    text = f"cutoff {words.percent(prediction.cutoff)}"
    if words.percent(prediction.cutoff) == words.percent(prediction.probability):
        text = words.comparison(prediction)
    half = sheet.width(text, 16) / 2
    centre = min(max(cut, x + half + 50), x + width - half - 60)
    sheet.text(centre, y + height + 21, text, 16, align="center")
    y += height + 26
    if prediction.conformal_band is not None:
        note = "hatched: too close to call"
        if prediction.conformal_alpha is not None:
            note += f" (conformal prediction, {100 * (1 - prediction.conformal_alpha):.0f} %)"
        sheet.text(x, y + 14, note, 14, colour=QUIET, width=width)
        y += 18
    if not prediction.in_training_range:
        sheet.text(
            x, y + 16, "Some measurements lie outside the range of the training data.", 15, colour=YELLOW, width=width
        )
        y += 20
    if prediction.fallback:
        y = sheet.paragraph(x, y + 16, prediction.fallback, 15, width, lines=2, colour=YELLOW) - 16
    sheet.line(x, y + 6, x + width, y + 6, LINE)
    return y + 8
