"""A reader's word on what was proposed, however it came: in the ledger, and sealed in the spool beside the exam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """What was said of each kind of a proposal. `kinds`: of all its segments.

    A ledger older than such answers has none of a proposal that was accepted; the spool holds what was.
    """
    if row.answers or row.state not in ANSWERED_BY_WORD:
        return answered(row.answers or {}, kinds, (), (), "")
    by = row.reason.removeprefix("by ") or UNKNOWN
    if row.state == "rejected":
        return answered({}, kinds, (), kinds, by)
    with ledger.read() as connection:
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
    while proposals.awaits_reader(row) or row.state in ANSWERED_BY_WORD:
        before = answers_on(ledger, row, kinds)
        after = answered(before, kinds, word.accepted, word.rejected, word.by)
        if after == before:
            return {}
        accepted, rejected = accepted_by(after), rejected_by(after)
        # Of a spool on another machine the ledger alone knows a rejection; nothing is accepted there.
        if accepted and accepted != accepted_by(before):
            put_word(spool, path, accepted, key.secret)
        if rejected and rejected != rejected_by(before) and not settings.spool.remote:
            put_word(spool, path, rejected, key.secret, "rejected")
        with ledger.write() as connection:
            newest = the_row(connection, ProposalRow, row.id)
            if (newest.answers, newest.state) == (row.answers, row.state):
                of_word = "proposal-accepted" if accepted != accepted_by(before) else proposals.REJECTED
                proposals.answer(connection, newest, after, (of_word, f"by {word.by}"), now)
                return {kind: one["answer"] for kind, one in after.items() if one != before[kind]}
        # Somebody else was quicker; both words count.
        row = newest
    return {}


def reject_unseen(ledger: Ledger, row: ProposalRow, who: str, now: float) -> None:
    """Reject a proposal whose file is not on this machine."""
    with ledger.write() as connection:
        proposals.reject(connection, row, row.study_id, who, now)
