"""No text prints over another or leaves its sheet, and what is cut on the first page stands whole on the next."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Report, Settings, Site
from dicom_sr.language import ENGLISH
from dicom_sr.page import drawn, text_fitting
from dicom_sr.page.node_labels import Box, Label, placed
from dicom_sr.page.sheet import SIDE_PX, Sheet
from dicom_sr.plain_reasons import plain
from tests.support.pages import (
    BODIES,
    IDENTITIES,
    INSTITUTIONS,
    LONG_REASONS,
    NAMES,
    SIDES,
    boxes,
    collisions,
    identified,
    longest,
    panels_of_nodes,
)
from tests.support.reports import KINDS, case

HEADS = list(itertools.product(NAMES.values(), INSTITUTIONS.values(), IDENTITIES.values()))


def settings_of(institution: str) -> Settings:
    return Settings(site=Site(institution=institution))


@pytest.mark.parametrize("reasons", [("one reason",), LONG_REASONS], ids=["short", "long"])
@pytest.mark.parametrize("banner", [False, True], ids=["plain", "banner"])
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("body", BODIES)
def test_no_combination_of_longest_texts_prints_over_another(
    body: str, sides: str, banner: bool, reasons: tuple[str, ...]
) -> None:
    result = longest(body, sides, banner=banner, reasons=reasons)
    source = identified(case("not_evaluated_without_rois").source, NAMES["long"], IDENTITIES["long"])
    drawing = drawn(result, source, (), settings_of(INSTITUTIONS["long"]))
    assert collisions(drawing.sheet) == []


@pytest.mark.parametrize("banner", [False, True], ids=["plain", "banner"])
def test_no_combination_of_names_institutions_and_identities_prints_over_another(banner: bool) -> None:
    example = case("not_evaluated_without_rois")
    result = example.result.model_copy(update={"demonstration": banner, "revision": 123})
    for name, institution, identity in HEADS:
        drawing = drawn(result, identified(example.source, name, identity), (), settings_of(institution))
        assert collisions(drawing.sheet) == [], (name, institution, identity)


@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_nothing_prints_over_another_on_the_pages_after_the_first(paper: str) -> None:
    source = identified(case("high").source, NAMES["no_font"], IDENTITIES["long"])
    result = longest("indeterminate", SIDES[2], banner=True, reasons=LONG_REASONS)
    settings = settings_of(INSTITUTIONS["long"]).model_copy(update={"report": Report(paper=paper)})
    more = drawn(result, source, (), settings).more
    assert len(more) >= 2
    for sheet in more:
        assert collisions(sheet) == []


@pytest.mark.parametrize("sides", SIDES)
def test_what_the_first_page_cuts_stands_whole_on_the_next_ones(sides: str) -> None:
    result = longest("indeterminate", sides, banner=True, reasons=LONG_REASONS)
    source = identified(case("high").source, NAMES["long"], IDENTITIES["long"])
    drawing = drawn(result, source, (), settings_of(INSTITUTIONS["long"]))
    more = squeezed("".join("".join(boxes(sheet)[0]) for sheet in drawing.more))
    assert drawing.sheet.cut
    for whole in drawing.sheet.cut:
        for clause in re.split(r"; |, (?=\d+=)|=", whole.partition("node ")[2] or whole):
            assert all(squeezed(word) in more for word in clause.split()), clause
    for reason in LONG_REASONS if sides == SIDES[2] else ():
        assert squeezed(plain(reason, result, ENGLISH)) in more


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_and_pictures_of_every_kind_of_result_keep_apart(kind: str) -> None:
    example = case(kind)
    drawing = drawn(example.result, example.source, example.panels, Settings())
    for sheet in (drawing.sheet, *drawing.more):
        assert collisions(sheet) == []


def test_the_probability_is_read_whole_beside_the_longest_answer_on_both_sides() -> None:
    result = longest("indeterminate", "both", banner=True, reasons=())
    texts, found = boxes(drawn(result, case("high").source, (), Settings()).sheet)
    answers = [found[i] for i, text in enumerate(texts) if text == "INDETERMINATE"]
    numbers = [found[i] for i, text in enumerate(texts) if text in ("48 %", "48.1 %")]
    assert len(answers) == len(numbers) == 2
    for answer, number in zip(answers, numbers, strict=True):
        assert answer[2] + 10 < number[0]


def test_not_evaluated_with_four_long_reasons_leaves_the_footer_readable() -> None:
    result = longest("not_evaluated", "one", banner=True, reasons=LONG_REASONS)
    drawing = drawn(result, case("high").source, (), Settings())
    texts, _ = boxes(drawing.sheet)
    assert "Research use only. Computed by software, not verified by a physician." in texts
    assert "axrad 0.1.0" in texts


@pytest.mark.parametrize("sides", [("L",), ("L", "R")])
def test_the_numbers_of_25_nodes_stay_apart_and_are_those_of_the_slice(sides: tuple[str, ...]) -> None:
    panels = panels_of_nodes(25, sides)  # type: ignore[arg-type]
    result = longest("high", "one" if len(sides) == 1 else "both", banner=False, reasons=())
    sheet = drawn(result, case("high").source, panels, Settings()).sheet
    assert collisions(sheet) == []
    for panel, axes in zip([p for p in panels if p.focus == "lymph_nodes"], node_axes(sheet), strict=True):
        shown = {t.get_text() for t in axes.texts} & {str(n) for n in range(1, 26)}
        small = axes.get_position().width * SIDE_PX < 150
        assert shown == ({"8"} if small else {str(c.number) for c in panel.contours if c.role == "lymph_nodes"})
        assert small or len(shown) >= 15


def node_axes(sheet: Sheet) -> list:
    """The pictures of nodes: the lower row, in the order of the panels (left side of the patient first)."""
    pictures = sheet.figure.axes[1:]
    lower = min(axes.get_position().y0 for axes in pictures)
    row = [axes for axes in pictures if axes.get_position().y0 == lower]
    return sorted(row, key=lambda axes: (axes.get_position().x0 < 0.5 if len(row) > 3 else 0, axes.get_position().x0))


@given(
    st.lists(st.tuples(st.floats(0, 230), st.floats(0, 230), st.floats(1, 30)), max_size=30),
    st.sampled_from([120, 236]),
)
@settings(max_examples=50, deadline=None)
def test_labels_of_pictures_never_meet(places: list[tuple[float, float, float]], size: int) -> None:
    labels = [Label(str(n), Box(x, y, x + d, y + d), 18, 16) for n, (x, y, d) in enumerate(places)]
    taken = [Box(0, 0, 40, 20)]
    found = [box for _, box in placed(labels, taken, size)]
    assert not any(a.meets(b) for a, b in itertools.combinations([*taken, *found], 2))
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= size and b.y1 <= size for b in found)


@given(st.text(max_size=120), st.floats(5, 300), st.sampled_from(["start", "end"]))
@settings(max_examples=60, deadline=None)
def test_a_line_is_never_wider_than_its_room(text: str, room: float, keep: text_fitting.Keep) -> None:
    sheet = Sheet()
    assert sheet.text(10, 30, text, 20, width=room, keep=keep) <= room
    assert collisions(sheet) == [] if boxes(sheet)[0] else True


@given(st.text(max_size=200), st.floats(20, 300), st.floats(1, 90))
@settings(max_examples=60, deadline=None)
def test_a_paragraph_never_leaves_its_box(text: str, room: float, height: float) -> None:
    sheet = Sheet()
    assert sheet.paragraph(100, 100, text, 20, room, height) <= 100 + height + 0.1
    texts, found = boxes(sheet)
    if texts:
        assert (found[:, 2] <= 100 + room + 22).all()


def test_long_text_is_made_smaller_then_cut_at_the_end_that_matters_least() -> None:
    assert text_fitting.line("short", 20, 12, 150) == ("short", 20)
    assert text_fitting.line("a bit longer", 20, 12, 100) == ("a bit longer", 17)
    start, size = text_fitting.line("0123456789" * 9, 20, 12, 150)
    assert (start[:4], start[-3:], size) == ("0123", "...", 12)
    end, _ = text_fitting.line("0123456789" * 9, 20, 12, 150, keep="end")
    assert (end[:3], end[-4:]) == ("...", "6789")
    assert text_fitting.width(start, 12) <= 150


def test_pieces_of_the_lowest_rank_are_cut_first() -> None:
    pieces = [text_fitting.Piece("A" * 60, 0), text_fitting.Piece("1970-01-02", 1)]
    size, gap, shares = text_fitting.pieces(pieces, 16, 12, 300)
    assert size == 12
    assert shares[1] == text_fitting.width("1970-01-02", 12)
    assert sum(shares) + gap <= 300.01
    assert Sheet().figure.canvas.get_width_height()[0] == SIDE_PX
