"""Results on proposed regions before a reader's word: marked, sent where they are asked for, replaced or taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa

from daemon.cli.accept import accept, reject
from daemon.finding import Finding
from daemon.health.proposal_check import proposed as proposals_check
from daemon.ledger import proposals
from daemon.ledger.states import PROPOSAL
from daemon.ledger.tables import deliveries
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.work.acceptance import good_segments
from tests.support.measured_house import House, a_house, order, proposed, saved_again

POLICY = 'evaluate = "preliminary"'
PRELIMINARY_WORDS = "PRELIMINARY: no reader has confirmed the regions."
# Another destination, at the same archive, that takes confirmed results alone.
CONFIRMED_ONLY = """preliminary = true
[[destination]]
name = "ward"
ae_title = "WARD"
host = "127.0.0.1"
port = {port}
what = ["sr"]
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path, POLICY, CONFIRMED_ONLY) as one:
        yield one


def preliminary(house: House) -> None:
    """Go to a preliminary report, delivered."""
    proposed(house)
    house.pass_time(1000)
    row = house.judge()
    assert row.state == "ready", (row.state, row.reason)


def reports(sent: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    return [ds for ds in sent if ds.Modality == "SR"]


def conclusions(sr: pydicom.Dataset) -> list[str]:
    (group,) = (c for c in sr.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    return [i.TextValue for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121077"]


def statuses(sr: pydicom.Dataset) -> list[str]:
    (group,) = (c for c in sr.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    return [i.ConceptCodeSequence[0].CodeValue for i in group.ContentSequence if i.ValueType == "CODE"][:1]


def test_a_preliminary_report_says_so_and_goes_only_where_it_is_asked_for(house: House) -> None:
    preliminary(house)
    result = house.report()
    assert result.status == "evaluated", result.reasons
    assert result.preliminary
    assert {(r.origin, r.confirmed_by) for r in result.rois.values()} == {("measured", None)}
    (sr,) = reports(house.deliver())
    assert sr.SeriesDescription.startswith("PRELIMINARY ")
    assert conclusions(sr)[0].startswith(PRELIMINARY_WORDS)
    assert statuses(sr) == ["PRELIMINARY"]
    assert sr.PreliminaryFlag == "PRELIMINARY"
    assert "preliminary: measurements are here, proposal sent, waits for confirmation" in house.judge().flagged


def test_the_confirmed_report_takes_its_place_and_rejects_it(house: House) -> None:
    preliminary(house)
    house.report()
    (before,) = reports(house.deliver())
    assert "accepted" in order(house, accept).output
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert (result.revision, result.preliminary) == (2, False)
    assert all(r.confirmed_by for r in result.rois.values())
    sent = house.deliver()
    notes = [ds for ds in sent if ds.Modality == "KO"]
    confirmed = reports(sent)
    assert (len(notes), len(confirmed)) == (1, 2), "the ward has no preliminary report to be told of"
    named = [i.ReferencedSOPSequence[0] for i in notes[0].ContentSequence if i.ValueType == "COMPOSITE"]
    assert before.SOPInstanceUID in {one.ReferencedSOPInstanceUID for one in named}
    assert len([ds for ds in confirmed if "PredecessorDocumentsSequence" in ds]) == 1
    for sr in confirmed:
        assert "PRELIMINARY" not in sr.SeriesDescription
        assert statuses(sr) != ["PRELIMINARY"]
    assert not house.judge().flagged


def test_a_rejection_takes_the_preliminary_report_back(house: House) -> None:
    preliminary(house)
    house.report()
    house.deliver()
    order(house, reject)
    row = house.judge()
    assert row.state == "ready"
    result = house.report()
    assert (result.revision, result.status, result.reasons) == (2, "not_evaluated", ("rejected by the reader",))
    sent = house.deliver()
    assert sorted(ds.Modality for ds in sent) == ["KO", "SR"], "only where the preliminary one went"
    (sr,) = reports(sent)
    assert "rejected by the reader" in conclusions(sr)[0]
    house.pass_time(1000)
    row = house.judge()
    assert (row.state, row.reason) == ("not_evaluated", "rejected by the reader")
    house.ingest(saved_again(house, "anew", off=2.0))
    house.pass_time(1000)
    assert "proposal sent, waits for confirmation" in house.judge().flagged


def test_a_rejection_goes_to_no_destination_that_never_had_the_preliminary_report(tmp_path: Path) -> None:
    with a_house(tmp_path, POLICY, CONFIRMED_ONLY) as house:
        preliminary(house)
        house.report()
        house.deliver()
        destinations = [
            d.model_copy(update={"preliminary": d.name == "ward"}) for d in house.context.settings.destination
        ]
        changed = house.context.settings.model_copy(update={"destination": destinations})
        house.context = replace(house.context, settings=changed)
        order(house, reject)
        house.judge()
        house.report()
        sent = house.deliver()
        with house.context.ledger.read() as connection:
            names = set(connection.execute(sa.select(deliveries.c.destination)).scalars())
    assert "rejected by the reader" in conclusions(reports(sent)[0])[0]
    assert names == {"pacs"}, "also where the setting changed since; not where it never went"


def test_a_kind_that_is_rejected_takes_the_preliminary_report_back_while_the_other_waits(house: House) -> None:
    preliminary(house)
    house.report()
    house.deliver()
    assert order(house, reject, "--roi", "lymph_nodes").exit_code == 0
    row = house.judge()
    assert row.state == "ready", (row.state, row.reason)
    assert house.report().reasons == ("rejected by the reader",)
    assert [ds.Modality for ds in house.deliver() if ds.Modality == "SR"] == ["SR"]
    order(house, accept)
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert (result.status, result.reasons) == ("not_evaluated", ("rejected by the reader",))


def test_a_readers_region_takes_the_place_of_a_preliminary_one(house: House) -> None:
    preliminary(house)
    house.report()
    house.deliver()
    house.ingest(house.copy_of_proposal("edited", changed=True))
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert (result.revision, result.preliminary) == (2, False)
    assert "drawn" in {r.origin for r in result.rois.values()}
    with house.context.ledger.read() as connection:
        assert proposals.counts(connection) == {"edited": 1}


def test_nothing_is_evaluated_unconfirmed_of_a_kind_with_a_doubtful_region(house: House) -> None:
    proposed(house)
    (path,) = house.context.settings.spool.path.glob("results/*/proposal.dcm")
    assert good_segments(path, house.context.settings) == [1, 2, 3, 4]
    assert good_segments(doubtful(path, number=2), house.context.settings) == [1]


def test_doubtful_regions_are_never_evaluated_unconfirmed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.proposal.quality.LEAST_CONTRAST", 2.0, raising=False)
    monkeypatch.setattr(
        "daemon.work.propose.good_segments", lambda path, settings: good_segments(doubtful(path), settings)
    )
    proposed(house)
    house.pass_time(1000)
    row = house.judge()
    assert row.state == "waiting"
    assert row.reason.startswith("measurements are here, proposal sent, waits for confirmation")


def doubtful(path: Path, number: int = 0) -> Path:
    """The proposal with this region doubtful; 0: every one."""
    ds = pydicom.dcmread(path)
    for segment in ds.SegmentSequence:
        if number not in (0, segment.SegmentNumber):
            continue
        segment.SegmentDescription = segment.SegmentDescription.replace("good", "doubtful")
    ds.save_as(path.with_name("doubtful.dcm"), enforce_file_format=True)
    return path.with_name("doubtful.dcm")


def test_proposals_are_counted_by_state_and_the_oldest_that_waits_is_told(house: House) -> None:
    settings, ledger = house.context.settings, house.context.ledger

    def figures() -> dict[tuple[str, str], float]:
        families = LedgerCollector(settings, ledger, house.context.clock, dict).collect()
        samples = [s for family in families if family.name.startswith("axrad_proposal") for s in family.samples]
        return {(s.name, s.labels.get("state", "")): s.value for s in samples}

    def check() -> Finding:
        with ledger.read() as connection:
            return proposals_check(connection, house.context.clock())

    before = figures()
    assert {state for name, state in before if name == "axrad_proposals"} == set(PROPOSAL)
    assert set(before.values()) == {0}
    assert check().text == "no proposal waits for a reader; 0 accepted, 0 edited, 0 rejected"
    proposed(house)
    house.pass_time(4 * 86400.0)
    now = figures()
    assert now["axrad_proposals", "sent"] == 1
    assert now["axrad_proposal_oldest_seconds", ""] == pytest.approx(4 * 86400.0, abs=300)
    assert check().level == "warn"
    order(house, reject)
    assert figures()["axrad_proposals", "rejected"] == 1
    assert check().text == "no proposal waits for a reader; 0 accepted, 0 edited, 1 rejected"
