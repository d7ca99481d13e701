"""A reader's word on what was proposed, however it came: in the ledger, and sealed in the spool beside the exam."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from config.schema import Settings
from daemon.ledger import Ledger, proposals
from daemon.ledger.rows import ProposalRow
from daemon.ledger.site_key import SiteKey
from daemon.spool import Spool
from daemon.work.acceptance import put_word, segments_of


def accept(
    ledger: Ledger,
    spool: Spool,
    row: ProposalRow,
    path: Path,
    who: str,
    numbers: Collection[int],
    key: SiteKey,
    now: float,
) -> None:
    """These segments count from now on. `path`: the proposal; `who`: stands for it."""
    put_word(spool, path, who, numbers, key.secret)
    with ledger.write() as connection:
        proposals.accept(connection, row, row.study_id, who, now)


def reject(
    ledger: Ledger,
    spool: Spool,
    row: ProposalRow,
    path: Path | None,
    who: str,
    settings: Settings,
    key: SiteKey | None,
    now: float,
) -> None:
    """Nothing of the proposal counts, and nothing is proposed again from the same measurements.

    In the spool it says so only where proposal and spool are on this machine.
    """
    if path is not None and key is not None and not settings.spool.remote:
        put_word(spool, path, who, segments_of(path, (), settings), key.secret, "rejected")
    with ledger.write() as connection:
        proposals.reject(connection, row, row.study_id, who, now)
