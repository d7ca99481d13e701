"""A reader's word on proposed regions when the ledger is lost, and when two come at the same time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner

from config.schema import Ledger
from daemon.cli.accept import accept, reject
from daemon.indexing.reconcile import reconcile
from daemon.ledger import open_ledger, proposals
from daemon.ledger.rows import ProposalRow
from daemon.ledger.site_key import key_for
from daemon.processes.supervisor import axrad_command
from daemon.spool import Spool
from daemon.work import readers_word
from daemon.work.acceptance import FILE, kinds_of
from tests.support.measured_house import House, a_house, order, proposed, saved_again


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as one:
        yield one


def test_measurements_and_an_acceptance_survive_the_loss_of_the_ledger(house: House, tmp_path: Path) -> None:
    study = proposed(house)
    CliRunner().invoke(accept, ["--config", str(house.config), study.id, "--roi", "tumor"], catch_exceptions=False)
    lose_the_ledger(house, tmp_path)
    row = house.judge()
    assert row.reason_code == "measured"
    assert "the axillary lymph node ROI" in row.reason
    assert "tumour ROI" not in row.reason


@pytest.mark.parametrize(
    "answers", [{"tumor": accept, "lymph_nodes": reject}, {"tumor": reject, "lymph_nodes": accept}]
)
def test_what_was_rejected_beside_what_was_accepted_is_not_asked_again_after_the_loss_of_the_ledger(
    house: House, tmp_path: Path, answers: dict[str, Command]
) -> None:
    proposed(house)
    for role, command in answers.items():
        assert order(house, command, "--roi", role).exit_code == 0
    house.pass_time(1000)
    before = house.judge()
    lose_the_ledger(house, tmp_path)
    row = house.judge()
    assert len(house.proposals()) == 1
    assert (row.state, row.reason_code) == (before.state, before.reason_code) == ("waiting", "rejected")
    house.ingest(saved_again(house, "anew", off=2.0))
    house.pass_time(1000)
    house.judge()
    # The tumour was measured anew: that is another region, of which nothing was said.
    labels = [s.SegmentLabel for seg in house.proposals()[1:] for s in seg.SegmentSequence]
    assert labels == ([] if answers["tumor"] is accept else ["Tumor, left"])


def lose_the_ledger(house: House, tmp_path: Path) -> None:
    """What comes after it is read from the spool."""
    house.context.ledger.close()
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    settings = house.context.settings.model_copy(update={"ledger": Ledger(url=url)})
    house.context = replace(house.context, settings=settings, ledger=open_ledger(settings))
    key = key_for(settings, house.context.ledger, time.time())
    reconcile(house.context.ledger, Spool(settings.spool.path), time.time(), key=key, measurements=True)
    house.pass_time(1000)


def row_of(house: House) -> ProposalRow:
    with house.context.ledger.read() as connection:
        row = proposals.newest(connection, house.study_id())
    assert row is not None
    return row


def in_ledger_and_spool(house: House) -> tuple[dict[str, str], dict[str, str]]:
    """What was said of each kind by the ledger, and by the sealed files."""
    house.index()
    row = row_of(house)
    kinds = kinds_of(house.context.result_folder(row.id) / FILE, house.context.settings)
    with house.context.ledger.read() as connection:
        accepted, rejected = proposals.answered_in_spool(connection, row.sop_uid or "")
    sealed = {kinds[n]: "accepted" for n in accepted}
    sealed |= {kinds[n]: f"{sealed.get(kinds[n], '')}rejected" for n in rejected}
    return {kind: one["answer"] for kind, one in (row.answers or {}).items() if one["answer"]}, sealed


@pytest.mark.parametrize("first", ["accepted", "rejected"])
def test_of_two_words_on_one_kind_the_first_counts_and_the_second_changes_nothing(house: House, first: str) -> None:
    proposed(house)
    # Both have read the proposal before either has spoken.
    row, settings, ledger = row_of(house), house.context.settings, house.context.ledger
    path = house.context.result_folder(row.id) / FILE
    kinds = kinds_of(path, settings)
    nodes = frozenset(n for n, kind in kinds.items() if kind == "lymph_nodes")
    words = {
        "accepted": readers_word.Word("A", accepted=frozenset(kinds)),
        "rejected": readers_word.Word("B", rejected=nodes),
    }
    now, spool = house.context.clock(), Spool(settings.spool.path)
    key = key_for(settings, ledger, now)
    second = "rejected" if first == "accepted" else "accepted"
    taken = [readers_word.give(ledger, spool, row, path, words[word], settings, key, now) for word in (first, second)]
    both = {"tumor": "accepted", "lymph_nodes": first}
    assert {kind: answer for each in taken for kind, answer in each.items()} == both
    assert "lymph_nodes" not in taken[1]
    assert in_ledger_and_spool(house) == (both, both)


def test_a_word_that_reached_the_spool_alone_counts_against_a_later_one(house: House) -> None:
    from daemon.work.acceptance import put_word

    proposed(house)
    row, settings = row_of(house), house.context.settings
    path = house.context.result_folder(row.id) / FILE
    key = key_for(settings, house.context.ledger, house.context.clock())
    # As a command leaves it that dies before it has told the ledger.
    put_word(Spool(settings.spool.path), path, dict.fromkeys(kinds_of(path, settings), "a reader"), key.secret)
    house.index()
    late = order(house, reject)
    assert late.exit_code != 0
    assert "the proposal was accepted" in str(late.exception)
    both = {"tumor": "accepted", "lymph_nodes": "accepted"}
    assert in_ledger_and_spool(house) == (both, both)


def test_accept_and_reject_in_two_processes_at_once_leave_one_answer_and_tell_the_other(house: House) -> None:
    proposed(house)
    running = [
        subprocess.Popen(
            [*axrad_command(), command, house.study_id(), "--config", str(house.config)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for command in ("accept", "reject")
    ]  # fmt: skip
    ended = [(*process.communicate(), process.returncode) for process in running]
    done = [word for word, (_, _, code) in zip(("accepted", "rejected"), ended, strict=True) if code == 0]
    assert len(done) == 1, ended
    told = next(errors for _, errors, code in ended if code)
    expected = "the proposal was rejected" if done == ["rejected"] else "was accepted"
    assert expected in told
    both = dict.fromkeys(("tumor", "lymph_nodes"), done[0])
    assert in_ledger_and_spool(house) == (both, both)
