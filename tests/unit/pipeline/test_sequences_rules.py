"""A site's own rules, laid over the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.schema import Sequences
from pipeline.catalog import InstanceFacts
from pipeline.errors import InputRejected
from pipeline.sequences import Match, match
from tests.support.exams import exam, series, uid


def run(*parts: list[InstanceFacts], settings: Sequences) -> Match:
    return match(exam(*parts), settings)


def labels(found: Match) -> dict[str, str]:
    return {label.series_uid: label.label for label in found.labels}


def test_a_site_adds_its_own_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[concept.t2]\nwords = ["weisheit"]\n[[decide]]\nlabel = "other"\nany = ["dwi"]\nconfidence = 0.99\n'
    )
    settings = Sequences(rules=rules)
    found = run(series(1, "WEISHEIT"), series(2, "DWI trace"), settings=settings)
    assert labels(found) == {uid(1): "t2", uid(2): "other"}


def test_a_site_adds_to_the_pieces_of_patterns(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[piece]\ngadolinium = "kontrol[0-9]"\n[concept.t2]\npatterns = ["weis{gadolinium}heit"]\n')
    found = run(
        series(1, "T1 without KONTROL5"),
        series(2, "WEISKONTROL1HEIT"),
        series(3, "T1 DOTAREM"),
        settings=Sequences(rules=rules),
    )
    assert labels(found) == {uid(1): "t1_pre", uid(2): "t2", uid(3): "t1_post"}


@pytest.mark.parametrize(
    "text",
    [
        "[concept.t2]\nwrds = []",
        '[[decide]]\nlabel = "t3"\nconfidence = 1',
        "[unknown]",
        "not toml",
        '[concept.t2]\npatterns = ["("]',
        '[concept.t2]\npatterns = ["{no_such_piece}"]',
    ],
)
def test_rules_that_are_not_well_formed_are_refused(tmp_path: Path, text: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(text)
    with pytest.raises(InputRejected, match="rules"):
        run(series(1, "x"), settings=Sequences(rules=rules))
