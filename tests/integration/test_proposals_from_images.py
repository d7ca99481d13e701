"""Nobody has drawn or measured: a proposal from the images in the archive, a reader's word, a report."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from onnx import helper
from pydicom import dcmread

from config.schema import Settings
from daemon.cli.accept import accept, reject
from daemon.ledger import proposals
from daemon.ledger.tables import instances
from daemon.work.acceptance import good_segments
from pipeline.catalog import ACCEPTED
from tests.support.measured_house import QUIET_S, SENT, House, a_house, order
from tests.support.proposal_model import model_of, train, write

ALONE = "nobody has drawn or measured anything; from the images alone: proposal sent, waits for confirmation"
ENHANCEMENT = 'from_images = "enhancement"'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path, ENHANCEMENT) as one:
        yield one


def proposed(house: House) -> object:
    house.ingest(*house.exam.paths)
    house.pass_time(200)
    assert house.judge().reason_code == "incomplete"
    assert not house.archive.received
    house.pass_time(QUIET_S)
    return house.judge()


def test_a_tumour_alone_is_proposed_after_the_wait_and_nothing_is_evaluated(house: House) -> None:
    study = proposed(house)
    assert (study.state, study.reason_code) == ("waiting", "from-images")  # type: ignore[attr-defined]
    assert study.reason.startswith(ALONE)  # type: ignore[attr-defined]
    (seg,) = house.proposals()
    assert [s.SegmentAlgorithmType for s in seg.SegmentSequence] == ["AUTOMATIC"]
    assert seg.SegmentSequence[0].SegmentLabel == "Tumor"
    assert "doubtful" in seg.SegmentSequence[0].SegmentDescription
    house.pass_time(5000)
    assert house.judge().reason.startswith(ALONE)
    assert len(house.archive.received) == 1


def test_what_a_reader_accepts_has_the_origin_enhancement(house: House) -> None:
    proposed(house)
    assert "accepted: Tumor" in order(house, accept).output
    house.pass_time(1000)
    row = house.judge()
    # The lymph nodes are still missing, and nothing is proposed for them.
    assert row.state == "waiting"
    assert "lymph node" in row.reason
    with house.context.ledger.read() as connection:
        facts = connection.execute(sa.select(instances.c.facts).where(instances.c.calling_ae == "ACCEPT")).scalar_one()
    assert facts["tags"][ACCEPTED] == "enhancement"
    assert len(house.proposals()) == 1


def test_no_policy_evaluates_it_before_a_readers_word(tmp_path: Path) -> None:
    rois = '[assembly]\nrequire_rois = ["tumor"]\n'
    with a_house(tmp_path, f'evaluate = "preliminary"\n{ENHANCEMENT}', f"preliminary = true\n{rois}") as house:
        study = proposed(house)
        assert (study.state, study.reason_code) == ("waiting", "from-images")  # type: ignore[attr-defined]
        house.pass_time(5000)
        assert house.judge().state == "waiting"
        (path,) = house.context.settings.spool.path.glob("results/*/proposal.dcm")
        assert good_segments(path, house.context.settings) == []
        with house.context.ledger.read() as connection:
            callers = set(connection.execute(sa.select(instances.c.calling_ae)).scalars())
        assert callers == {"VIEWER"}, "nothing was put into the spool for a preliminary result"


def test_what_a_reader_rejects_is_not_proposed_again(house: House) -> None:
    proposed(house)
    order(house, reject)
    assert house.judge().reason.startswith("not evaluated: rejected by the reader")
    house.pass_time(5000)
    house.judge()
    assert len(house.proposals()) == 1


def test_a_measurement_that_comes_later_takes_the_place_of_the_images(house: House) -> None:
    proposed(house)
    house.ingest(house.measurements)
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)
    assert [len(seg.SegmentSequence) for seg in house.proposals()][-1] > 1
    assert {s.SegmentAlgorithmType for s in house.proposals()[-1].SegmentSequence} == {"SEMIAUTOMATIC"}


def test_regions_of_a_demonstration_model_go_nowhere_unless_that_is_allowed(house: House, tmp_path: Path) -> None:
    card = train(tmp_path / "model")
    text = house.config.read_text().replace('"enhancement"', f'"model"\nmodel = "{card}"')
    house.context = replace(house.context, settings=Settings.model_validate(tomllib.loads(text)))
    study = proposed(house)
    assert "only where allow_demonstration = true" in study.reason  # type: ignore[attr-defined]
    assert not house.archive.received
    with house.context.ledger.read() as connection:
        row = proposals.newest(connection, house.study_id())
    assert row is not None
    path = house.context.result_folder(row.id) / "proposal.dcm"
    ds = dcmread(path)
    assert ds.SeriesDescription == "Proposed by software, not verified, demonstration"
    assert ds.SegmentSequence[0].SegmentAlgorithmName == "phantom tumour demonstration"
    names = [a.AlgorithmName for a in ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence]
    assert names == ["phantom tumour demonstration"]


def test_a_model_that_does_not_fit_leaves_the_exam_waiting_and_says_why(house: House, tmp_path: Path) -> None:
    card = write(tmp_path / "model", model_of([helper.make_node("Size", ["x"], ["y"])], {}, channels=2))
    text = house.config.read_text().replace('"enhancement"', f'"model"\nmodel = "{card}"')
    house.context = replace(house.context, settings=Settings.model_validate(tomllib.loads(text)))
    study = proposed(house)
    assert study.state == "waiting"  # type: ignore[attr-defined]
    assert "no region could be proposed: the model could not be run" in study.reason  # type: ignore[attr-defined]
    assert not house.archive.received
