"""Failed work: repeated later, or set aside with the reason."""

from __future__ import annotations

import errno

import structlog

from daemon.ledger.claims import Claim, LeaseLost, backoff_s, release
from daemon.ledger.engine import LedgerBusy, note
from daemon.ledger.studies import move_study
from daemon.work.context import Context
from pipeline.errors import AxradError, ExamRejected, PeerUnreachable, ReportRejected, TryLater

log = structlog.get_logger("axrad.work")


class TaskFailed(Exception):
    """What Celery and Flower see of a failure: a code and an opaque id, never a value from the exam.

    `final`: set aside; otherwise the same work is tried again.
    """

    def __init__(self, code: str, row_id: str, *, final: bool = True) -> None:
        super().__init__(code, row_id)
        self.code = code
        self.row_id = row_id
        self.final = final

    def __str__(self) -> str:
        return f"{self.code} ({self.row_id})"


class DiskFull(TryLater):
    """Nothing can be written; that is not the exam's doing."""

    code = "disk-full"


OUT_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
# An exam looks again at least so often whether its surroundings are well.
LONGEST_BLAMELESS_PAUSE_S = 300.0


def translated(error: Exception) -> Exception:
    """What the machine lacks, as an error of ours; everything else as it is."""
    if isinstance(error, OSError) and error.errno in OUT_OF_ROOM:
        return DiskFull(
            f"the machine cannot write ({errno.errorcode[error.errno]}); free some space; processing resumes by itself"
        )
    return error


def code_of(error: Exception) -> str:
    """A stable code; a foreign error (a bug) is named by its type only, since its text may quote the exam."""
    return error.code if isinstance(error, AxradError) else f"internal-{type(error).__name__}"


def sentence_of(error: Exception) -> str:
    return error.message if isinstance(error, AxradError) else f"an internal error ({type(error).__name__})"


def where_in_our_code(error: BaseException) -> str:
    """file:line of the innermost frame: enough to find a bug, and never PHI."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{'/'.join(code.co_filename.split('/')[-2:])}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def revision_failed(context: Context, held: Claim, study_id: str, error: Exception) -> bool:
    """Transient or unforeseen: again after a while, until the attempts are used up. Permanent: set aside at once.
    What its surroundings lack (disk, ledger, the intake host) is no attempt of the exam.

    Returns whether it was set aside.
    """
    now = context.clock()
    error = translated(error)
    code, reason = code_of(error), sentence_of(error)
    blameless = isinstance(error, DiskFull | LedgerBusy | PeerUnreachable) and not held.exhausted
    final = not blameless and (
        held.attempt >= context.settings.work.attempts
        or (isinstance(error, AxradError) and not isinstance(error, TryLater))
    )
    values: dict[str, object] = {"reason": reason, "reason_code": code}
    if final:
        values["finished_at"] = now
        values["reason"] = reason = f"set aside after {held.attempt} attempts: {reason}"
    else:
        # The fence counts every claim, also those that are not held against the exam.
        pause_s = backoff_s(context.settings.work.backoff_s, held.fence if blameless else held.attempt)
        values |= {"next_attempt_at": now + (min(pause_s, LONGEST_BLAMELESS_PAUSE_S) if blameless else pause_s)}
    if blameless:
        values |= {"attempts": held.attempt - 1}
    try:
        with context.ledger.write() as connection:
            release(connection, held, values, state="failed" if final else None)
            kind = "failed" if final else "retry"
            note(connection, now, kind, f"{code}: {reason}", study_id, held.id)
            if final:
                move_study(connection, study_id, "failed", now, reason, code)
    except LeaseLost:
        return False
    log.error(
        "revision-failed" if final else "revision-retry",
        study=study_id,
        revision=held.id,
        code=code,
        # What is wrong with an exam may be said with a label of it; the ledger has it in words.
        reason=None if isinstance(error, ExamRejected | ReportRejected) else reason,
        attempt=held.attempt,
        at=where_in_our_code(error),
    )
    return final
