"""What a radiologist sees in OHIF: the answer as text on the screen, the page as an image."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from dicom_sr import sentences
from dicom_sr.language import ENGLISH
from tests.support import viewer
from tests.support.viewer_study import ViewerStudy, study_of

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node")]


@dataclass(frozen=True)
class Seen:
    study: ViewerStudy
    captions: list[str]
    views: dict[str, viewer.View]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    lacking = viewer.missing()
    if lacking is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(lacking, pytrace=False)
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("viewer")
    study = study_of(folder)
    kinds = ("sr", "page", "key_slices")
    with viewer.archive(folder) as archive:
        viewer.upload(archive, study.files)
        with viewer.ohif(archive, folder) as url:
            captions, views = viewer.look(url, study.uid, [study.title(kind) for kind in kinds], folder / "seen")
    return Seen(study, captions, dict(zip(kinds, views, strict=True)))


def test_the_report_is_readable_as_text(seen: Seen) -> None:
    view = seen.views["sr"]
    prediction = seen.study.result.prediction
    assert prediction is not None
    assert not view.crashed
    text = " ".join(view.text.split())
    category = {"high": "High risk", "low": "Low risk", "indeterminate": "Uncertain risk"}[prediction.category]
    assert sentences.percents(prediction)[0].removesuffix(" %") in text
    assert "ALN metastasis probability" in text
    assert category in text
    side = seen.study.result.laterality
    assert side in ("L", "R")
    conclusion = sentences.conclusion(seen.study.result, side, next(seen.study.result.parts())[1], ENGLISH)
    assert " ".join(conclusion.split()) in text
    answer = f"Prediction, {sentences.side_word(side, ENGLISH)} side: {category_of(seen)}"
    assert -1 < text.find(answer) < text.find("ALN metastasis probability"), "the number stands above the answer"


def category_of(seen: Seen) -> str:
    return sentences.category_word(next(seen.study.result.parts())[1], ENGLISH)


def test_the_page_is_shown_as_an_image(seen: Seen) -> None:
    view = seen.views["page"]
    assert not view.crashed
    pixels = np.asarray(Image.open(view.picture).convert("RGB")).astype(int)
    yellow = np.all(np.abs(pixels - (0xF0, 0xE4, 0x42)) < 24, axis=-1)
    assert np.count_nonzero(yellow) > 2000, "the demonstration banner of the page is not on the screen"


def test_the_key_slices_open_without_an_error(seen: Seen) -> None:
    assert not seen.views["key_slices"].crashed


def test_every_object_is_listed_with_a_name(seen: Seen) -> None:
    for description in ("axrad ALN metastasis", "axrad page", "axrad PDF", "axrad key slices"):
        assert any(description in caption for caption in seen.captions), seen.captions
