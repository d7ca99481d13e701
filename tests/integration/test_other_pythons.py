"""The same numbers on every Python that this machine has: signatures, scores, features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.signature import model_card
from pipeline.signature.container import save
from tests.support.other_pythons import CLASSIFIERS, made_by, make, others
from tests.support.signature_tables import frame, trained


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signature") / "made_here.axsig"
    save(trained(frame(cases=60, effect=1.2, seed=11)), path)
    return path


@pytest.fixture(scope="module")
def here(file: Path) -> dict[str, Any]:
    return make(file)


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def there(request: pytest.FixtureRequest, file: Path) -> dict[str, Any]:
    python = others().get(request.param)
    if python is None:
        pytest.skip(f"this is Python {request.param}, or there is no environment of it (script/pythons makes them)")
    return made_by(python, file)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_same_table_gives_the_same_selection_and_the_same_scores(
    here: dict[str, Any], there: dict[str, Any], kind: str
) -> None:
    mine, theirs = here["trained"][kind], there["trained"][kind]
    assert len(mine["columns"]) > 5
    assert (theirs["columns"], theirs["groups"]) == (mine["columns"], mine["groups"])
    assert theirs["numbers"] == pytest.approx(mine["numbers"], rel=0, abs=1e-12)


def test_a_signature_file_scores_the_same_elsewhere(here: dict[str, Any], there: dict[str, Any]) -> None:
    for mine, theirs in zip(here["scores"], there["scores"], strict=True):
        assert theirs == pytest.approx(mine, rel=0, abs=1e-12)


def test_every_feature_is_equal_to_the_last_bit_with_the_same_numpy(
    here: dict[str, Any], there: dict[str, Any]
) -> None:
    numpys = [made["trained"]["svm"]["software"]["numpy"] for made in (here, there)]
    assert numpys[0] == numpys[1], "one constraints file for all"
    assert there["features"] == here["features"]
    assert len(here["features"]) == 851


def test_the_card_says_on_what_a_signature_was_made(there: dict[str, Any], here: dict[str, Any]) -> None:
    for made in (here, there):
        assert [*made["trained"]["svm"]["software"]] == ["python", "numpy", "scipy", "scikit-learn"]
    assert here["trained"]["svm"]["software"]["python"] != there["trained"]["svm"]["software"]["python"]
    signature = trained()
    assert f"| made with | python {here['trained']['svm']['software']['python']}, numpy " in model_card.markdown(
        signature
    )
