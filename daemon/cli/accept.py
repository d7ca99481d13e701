"""`axrad accept` and `axrad reject`: a reader's word on regions that were proposed."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option
from pipeline.errors import InputRejected

if TYPE_CHECKING:
    from config.schema import Settings
    from daemon.ledger import Ledger
    from daemon.ledger.rows import ProposalRow, StudyRow


@click.command()
@config_option
@click.argument("study")
@click.option(
    "--roi",
    "roles",
    multiple=True,
    type=click.Choice(("tumor", "lymph_nodes")),
    help="Only this region; may be given twice.  [default: all that was proposed]",
)
def accept(config_path: Path | None, study: str, roles: tuple[str, ...]) -> None:
    """Accept the regions that were proposed for STUDY as they are, on behalf of a reader who has looked at them.

    They count from then on as if the reader had sent them; reports say what they were grown from and who accepted them.
    Accepting again changes nothing.
    """
    from daemon.indexing.indexer import index_once
    from daemon.ledger.keyed_digests import bring_all
    from daemon.ledger.proposals import awaits_reader
    from daemon.ledger.site_key import key_for
    from daemon.share.exam_files import files_of
    from daemon.spool import Spool
    from daemon.work import readers_word
    from daemon.work.acceptance import FILE, segments_of

    case = _case(config_path, "accept", study)
    settings, ledger, proposal = case.settings, case.ledger, case.proposal
    if settings.spool.remote:
        raise InputRejected(f"the spool is at {settings.spool.remote}: accept it there")
    path = files_of(settings).get(proposal.id, FILE) if proposal is not None else None
    accepted_before = proposal is not None and proposal.state == "accepted"
    if proposal is None or (not accepted_before and (path is None or not awaits_reader(proposal))):
        raise case.nothing_waits()
    key = key_for(settings, ledger, time.time())
    bring_all(ledger, key)
    spool = Spool(settings.spool.path)
    if accepted_before:
        index_once(ledger, spool, time.time(), settings, key)
        click.echo(f"accepted already: {_accepted_before(case, proposal, path, roles)}")
        return
    assert path is not None
    labels = segments_of(path, roles, settings)
    readers_word.accept(ledger, spool, proposal, path, case.who, labels, key, time.time())
    index_once(ledger, spool, time.time(), settings, key)
    case.tell("accept", ", ".join(labels.values()))
    click.echo(f"accepted: {', '.join(labels.values())}")


@click.command()
@config_option
@click.argument("study")
def reject(config_path: Path | None, study: str) -> None:
    """Reject the regions that were proposed for STUDY, on behalf of a reader who has looked at them.

    Nothing is proposed again from the same measurements. The exam waits for regions that a reader draws, or for other
    measurements. Rejecting again changes nothing.
    """
    from daemon.ledger.proposals import awaits_reader
    from daemon.ledger.site_key import key_for
    from daemon.share.exam_files import files_of
    from daemon.spool import Spool
    from daemon.work import readers_word
    from daemon.work.acceptance import FILE

    case = _case(config_path, "reject", study)
    proposal = case.proposal
    if proposal is not None and proposal.state == "rejected":
        click.echo(f"rejected already: what was proposed for study {case.study.id}")
        return
    if proposal is not None and proposal.state == "accepted":
        raise InputRejected(
            f"the proposal for study {case.study.id} was accepted; a segmentation that the reader draws takes its place"
        )
    if proposal is None or not awaits_reader(proposal):
        raise case.nothing_waits()
    settings, now = case.settings, time.time()
    path, key = files_of(settings).get(proposal.id, FILE), key_for(settings, case.ledger, now)
    readers_word.reject(case.ledger, Spool(settings.spool.path), proposal, path, case.who, settings, key, now)
    case.tell("reject")
    click.echo(f"rejected: what was proposed for study {case.study.id}; it waits for a region that a reader draws")


@dataclass(frozen=True, slots=True)
class _Case:
    """A study, and the newest proposal for it, if any. `who` speaks for the reader."""

    settings: Settings
    ledger: Ledger
    study: StudyRow
    proposal: ProposalRow | None
    who: str

    def nothing_waits(self) -> InputRejected:
        from daemon.ledger import proposals

        state = "nothing was proposed" if self.proposal is None else proposals.in_words(self.proposal)
        return InputRejected(f"study {self.study.id} has no proposal that waits for a reader: {state}")

    def tell(self, action: str, detail: str = "") -> None:
        """Into the audit trail."""
        from daemon import audit
        from daemon.work.audit_events import named

        about = named(self.settings, self.ledger, audit.Study(self.study.study_uid, {}, self.study.id))
        audit.operator_action(self.settings, action, about, detail)


def _case(config_path: Path | None, command: str, study: str) -> _Case:
    """Raises InputRejected where the ledger does not know the study."""
    from config.load import load
    from daemon.audit_trail.operating_user import operating_user
    from daemon.ledger import existing_ledger, proposals, studies
    from daemon.logs import set_up

    settings = load(config_path)
    set_up(settings.log, command)
    ledger = existing_ledger(settings)
    with ledger.read() as connection:
        row = studies.find(connection, study)
        if row is None:
            raise InputRejected(f"the ledger knows no study {study}; `axrad studies` lists those it knows")
        return _Case(settings, ledger, row, proposals.newest(connection, row.id), operating_user()[0])


def _accepted_before(case: _Case, proposal: ProposalRow, path: Path | None, roles: Collection[str]) -> str:
    """What was accepted, in words. Raises InputRejected where that is less than what is to be accepted now."""
    from daemon.work.acceptance import accepted_and_open

    if path is None:
        return "what was proposed"
    accepted, still_open = accepted_and_open(path, proposal.sop_uid, case.ledger, roles, case.settings)
    if still_open:
        raise InputRejected(
            f"of the proposal for study {case.study.id} only {', '.join(accepted)} was accepted, and a proposal is "
            f"accepted once: a reader can draw {', '.join(still_open)}, or save the proposal in a viewer"
        )
    return ", ".join(accepted) or "what was proposed"
