"""A site's own model that reads the ADC beside T1+C, from the exam's files to its region."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from config.schema import Settings
from pipeline import diffusion, sequences, volumes
from pipeline.catalog import Exam, exam_in
from pipeline.errors import ExamRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol
from pipeline.proposal.from_images import propose_from_images
from pipeline.proposal.model import _on
from tests.support.proposal_model import CARD, model_of, write

FEW = Protocol((48, 48, 16), (2.66, 2.66, 4), (48, 48, 8), (2.66, 2.66, 8), (32, 32, 12), (4, 4, 5), one_side=True)
FAST_DIFFUSION = 1200.0


@pytest.fixture(scope="module")
def with_adc(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExam, Exam]:
    folder = tmp_path_factory.mktemp("exam")
    return write_exam(folder, PhantomSpec(9, protocol=FEW)), exam_in(folder)


def without(exam: tuple[PhantomExam, Exam], *labels: str) -> Exam:
    gone = {series.series_uid for series in exam[0].series if series.label in labels}
    assert gone
    return replace(exam[1], series=tuple(s for s in exam[1].series if s.series_uid not in gone))


@pytest.fixture(scope="module")
def reads_adc(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A model that finds where water diffuses faster than FAST_DIFFUSION, and does not look at T1+C."""
    tensors = {"w": np.array([0, 0.01], np.float32).reshape(1, 2, 1, 1, 1), "b": np.array([-0.01 * FAST_DIFFUSION])}
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    model = model_of([helper.make_node("Conv", ["x", "w", "b"], ["y"])], tensors, channels=2)
    card = CARD.replace('"before"', '"adc"').replace('"zscore"', '"none"').replace("least_cc = 0.2", "least_cc = 0.0")
    path = write(tmp_path_factory.mktemp("adc"), model, card)
    return Settings.model_validate({"proposal": {"enabled": True, "from_images": "model", "model": path}})


@pytest.mark.parametrize("gone", [(), ("adc",)])
def test_a_model_reads_the_adc_of_the_map_or_of_the_diffusion_series_on_the_grid_of_t1c(
    with_adc: tuple[PhantomExam, Exam], reads_adc: Settings, gone: tuple[str, ...]
) -> None:
    exam = without(with_adc, *gone) if gone else with_adc[1]
    (region,) = propose_from_images(exam, reads_adc).regions
    chosen = sequences.match(exam, reads_adc.sequences).chosen
    assert bool(chosen["adc"].frames_by_b) == bool(gone)
    t1c = volumes.load(chosen["t1c"], reads_adc.sequences).geometry
    adc = diffusion.adc_of(chosen["adc"], lambda one: volumes.load(one, reads_adc.sequences))
    fast = _on(adc.voxels_zyx.astype(np.float32), adc.geometry, t1c) >= FAST_DIFFUSION
    assert 0.02 < fast.mean() < 0.9
    assert 2 * (region.mask & fast).sum() / (region.mask.sum() + fast.sum()) > 0.9


def test_an_exam_without_adc_has_no_proposal_of_a_model_that_reads_it_and_says_why(
    with_adc: tuple[PhantomExam, Exam], reads_adc: Settings
) -> None:
    with pytest.raises(ExamRejected, match="the model reads adc, which this exam does not have; adc: ") as refused:
        propose_from_images(without(with_adc, "adc", "dwi"), reads_adc)
    assert refused.value.code == "model-inputs"
