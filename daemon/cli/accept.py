"""`axrad accept` and `axrad reject`: a reader's word on regions that were proposed."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option
from pipeline.errors import InputRejected

if TYPE_CHECKING:
    from config.schema import Settings
    from daemon.ledger import Ledger
    from daemon.ledger.proposal_words import Answer
    from daemon.ledger.rows import ProposalRow, StudyRow
    from daemon.ledger.site_key import SiteKey
    from daemon.spool import Spool


roles_option = click.option(
    "--roi",
    "roles",
    multiple=True,
    type=click.Choice(("tumor", "lymph_nodes")),
    help="Only this region; may be given twice.  [default: all that waits]",
)


@click.command()
@config_option
@click.argument("study")
@roles_option
def accept(config_path: Path | None, study: str, roles: tuple[str, ...]) -> None:
    """Accept the regions that were proposed for STUDY as they are, on behalf of a reader who has looked at them.

    They count from then on as if the reader had sent them; reports say what they were grown from and who accepted them.
    One kind (--roi) may be accepted now and the other at any later time. Accepting again changes nothing.
    """
    from daemon.indexing.indexer import index_once
    from daemon.ledger.keyed_digests import bring_all
    from daemon.ledger.site_key import key_for
    from daemon.ledger.spools import own_spool

    case = _case(config_path, "accept", study)
    settings, ledger = case.settings, case.ledger
    if settings.spool.remote:
        raise InputRejected(f"the spool is at {settings.spool.remote}: accept it there")
    proposal, path = case.answerable()
    assert path is not None
    key = key_for(settings, ledger, time.time())
    bring_all(ledger, key)
    spool = own_spool(settings, ledger, time.time())
    labels = _take(case, spool, proposal, path, roles, "accepted", key)
    index_once(ledger, spool, time.time(), settings, key)
    if not labels:
        click.echo(f"accepted already: {_before(case.as_it_is_now(), path, roles, 'accepted')}")
        return
    case.tell("accept", labels)
    click.echo(f"accepted: {labels}")


@click.command()
@config_option
@click.argument("study")
@roles_option
def reject(config_path: Path | None, study: str, roles: tuple[str, ...]) -> None:
    """Reject the regions that were proposed for STUDY, on behalf of a reader who has looked at them.

    Nothing is proposed again from the same measurements. The exam waits for regions that a reader draws, or for other
    measurements. Rejecting again changes nothing.
    """
    from daemon.ledger.site_key import key_for
    from daemon.spool import Spool
    from daemon.work import readers_word

    case = _case(config_path, "reject", study)
    settings, now = case.settings, time.time()
    proposal, path = case.answerable(file_needed=False)
    if path is None:
        if proposal.state == "accepted" or roles:
            raise InputRejected(f"what was proposed for study {case.study.id} is not on this machine: reject it there")
        if proposal.state != "rejected":
            if not readers_word.reject_unseen(case.ledger, proposal, case.who, now):
                raise InputRejected(f"study {case.study.id}: {case.as_it_is_now().in_words()}")
            case.tell("reject")
        click.echo(f"rejected: what was proposed for study {case.study.id}; it waits for a region that a reader draws")
        return
    key = key_for(settings, case.ledger, now)
    labels = _take(case, Spool(settings.spool.path), proposal, path, roles, "rejected", key)
    if not labels:
        click.echo(f"rejected already: {_before(case.as_it_is_now(), path, roles, 'rejected')}")
        return
    case.tell("reject", labels)
    click.echo(f"rejected: {labels}; study {case.study.id} waits for a region that a reader draws")


@dataclass(frozen=True, slots=True)
class _Case:
    """A study, and the newest proposal for it, if any. `who` speaks for the reader."""

    settings: Settings
    ledger: Ledger
    study: StudyRow
    proposal: ProposalRow | None
    who: str

    def in_words(self) -> str:
        from daemon.ledger import proposals

        return "nothing was proposed" if self.proposal is None else proposals.in_words(self.proposal)

    def answerable(self, *, file_needed: bool = True) -> tuple[ProposalRow, Path | None]:
        """The proposal, and its file. Raises InputRejected where no word on it is taken."""
        from daemon.ledger.proposals import awaits_reader
        from daemon.ledger.spools import home_in
        from daemon.ledger.states import ANSWERED_BY_WORD
        from daemon.share.spool_files import files_of
        from daemon.work.acceptance import FILE

        row = self.proposal
        path = files_of(self.settings, home_in(self.ledger)).get(row.id, FILE) if row is not None else None
        answered = row is not None and row.state in ANSWERED_BY_WORD
        if row is None or not (answered or awaits_reader(row)) or (file_needed and path is None):
            raise InputRejected(f"study {self.study.id} has no proposal that waits for a reader: {self.in_words()}")
        return row, path

    def as_it_is_now(self) -> _Case:
        from daemon.ledger import proposals

        with self.ledger.read() as connection:
            return replace(self, proposal=proposals.newest(connection, self.study.id))

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


def _take(
    case: _Case, spool: Spool, proposal: ProposalRow, path: Path, roles: Collection[str], answer: Answer, key: SiteKey
) -> str:
    """Give the word on every region of these kinds (none: all) that waits; the labels of those, empty where none does.

    Raises InputRejected where there is nothing of a kind, or the opposite was said of a kind that is named.
    """
    from daemon.work import readers_word
    from daemon.work.acceptance import kinds_of, segments_of

    wanted, kinds = segments_of(path, roles, case.settings), kinds_of(path, case.settings)
    before = readers_word.answers_on(case.ledger, proposal, kinds)
    other = [kind for kind, one in before.items() if one["answer"] not in ("", answer)]
    open_ = frozenset(n for n in wanted if not before[kinds[n]]["answer"])
    if any(kind in roles for kind in other) or (not open_ and len(other) == len(before)):
        raise InputRejected(f"study {case.study.id}: {case.in_words()}; a region that the reader draws takes its place")
    numbers = {"accepted": open_} if answer == "accepted" else {"rejected": open_}
    word = readers_word.Word(case.who, **numbers)
    taken = readers_word.give(case.ledger, spool, proposal, path, word, case.settings, key, time.time())
    if open_ and answer not in {taken.get(kinds[n]) for n in open_}:
        # Somebody else was quicker: what was said is told, as it is of any earlier word.
        again = case.as_it_is_now()
        return _take(again, spool, again.answerable()[0], path, roles, answer, key)
    return ", ".join(wanted[n] for n in sorted(open_) if taken.get(kinds[n]) == answer)


def _before(case: _Case, path: Path, roles: Collection[str], answer: Answer) -> str:
    """Labels of the regions of these kinds (none: all) of which this was said before."""
    from daemon.work import readers_word
    from daemon.work.acceptance import kinds_of, segments_of

    before = readers_word.answers_on(case.ledger, case.answerable()[0], kinds_of(path, case.settings))
    those = {n for one in before.values() if one["answer"] == answer for n in one["accepted"] or one["segments"]}
    return ", ".join(label for n, label in segments_of(path, roles, case.settings).items() if n in those)
