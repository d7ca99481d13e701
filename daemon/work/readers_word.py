"""A reader's word on what was proposed, however it came: in the ledger, and sealed in the spool beside the exam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from config.schema import Settings
from daemon.ledger import Ledger, proposals
from daemon.ledger.proposal_words import Answer, KindAnswer, accepted_by, answered, rejected_by
from daemon.ledger.rows import ProposalRow, the_row
from daemon.ledger.site_key import SiteKey
from daemon.ledger.states import ANSWERED_BY_WORD
from daemon.spool import Spool
from daemon.work.acceptance import kinds_of, put_word

UNKNOWN = "a reader"


@dataclass(frozen=True, slots=True)
class Word:
    """`by`: who stands for it. `accepted`, `rejected`: numbers of segments."""

    by: str
    accepted: frozenset[int] = frozenset()
    rejected: frozenset[int] = frozenset()


def answers_on(ledger: Ledger, row: ProposalRow, kinds: Mapping[int, str]) -> dict[str, KindAnswer]:
    """What was said of each kind of a proposal. `kinds`: of all its segments."""
    with ledger.read() as connection:
        return _answers_in(connection, row, kinds)


def _answers_in(connection: sa.Connection, row: ProposalRow, kinds: Mapping[int, str]) -> dict[str, KindAnswer]:
    """A ledger older than such answers has none of a proposal that was accepted; the spool holds what was."""
    if row.answers or row.state not in ANSWERED_BY_WORD:
        return answered(row.answers or {}, kinds, (), (), "")
    by = row.reason.removeprefix("by ") or UNKNOWN
    if row.state == "rejected":
        return answered({}, kinds, (), kinds, by)
    accepted, _ = proposals.answered_in_spool(connection, row.sop_uid or "")
    return answered({}, kinds, accepted or kinds, (), by)


def give(
    ledger: Ledger, spool: Spool, row: ProposalRow, path: Path, word: Word, settings: Settings, key: SiteKey, now: float
) -> dict[str, Answer]:
    """Take the word on each kind that it speaks of and nobody has spoken of before; these, and what became of them.

    What is accepted counts from now on, with what was accepted before. What is rejected never counts, and is not
    proposed again from the same measurements. `path`: the proposal.
    """
    kinds = kinds_of(path, settings)
    with ledger.write() as connection:
        # Of two words at a time one waits here for the other, so that ledger and spool hold the same one.
        newest = the_row(connection, ProposalRow, row.id, lock=True)
        if not (proposals.awaits_reader(newest) or newest.state in ANSWERED_BY_WORD):
            return {}
        stored = _answers_in(connection, newest, kinds)
        # A command may have died between spool and ledger: what the spool holds counts already.
        spoken = proposals.answered_in_spool(connection, newest.sop_uid or "")
        before = answered(stored, kinds, *spoken, UNKNOWN)
        after = answered(before, kinds, word.accepted, word.rejected, word.by)
        if after == stored:
            return {}
        accepted, rejected = accepted_by(after), rejected_by(after)
        # Into the spool first: what the ledger alone knew would be lost with it. Of a spool on another machine the
        # ledger alone knows a rejection; nothing is accepted there.
        if accepted and accepted != accepted_by(before):
            put_word(spool, path, accepted, key.secret)
        if rejected and rejected != rejected_by(before) and not settings.spool.remote:
            put_word(spool, path, rejected, key.secret, "rejected")
        of_word = "proposal-accepted" if accepted != accepted_by(stored) else proposals.REJECTED
        proposals.answer(connection, newest, after, (of_word, f"by {word.by}"), now)
    return {kind: one["answer"] for kind, one in after.items() if one != stored[kind]}


def reject_unseen(ledger: Ledger, row: ProposalRow, who: str, now: float) -> bool:
    """Reject a proposal whose file is not on this machine, unless somebody has spoken of it since; whether it was."""
    with ledger.write() as connection:
        newest = the_row(connection, ProposalRow, row.id, lock=True)
        if not proposals.awaits_reader(newest):
            return False
        proposals.reject(connection, newest, row.study_id, who, now)
    return True
