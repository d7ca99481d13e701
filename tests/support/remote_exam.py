"""One exam in a spool, evaluated by a worker that has the spool and by one that has not; without sockets of DICOM."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from config.schema import Settings
from daemon.indexing.indexer import index_once
from daemon.ledger import open_ledger
from daemon.ledger.rows import RevisionRow, the_row
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import revisions
from daemon.share.server import sharing
from daemon.spool import JournalWriter, Spool
from daemon.work import analyse, report
from daemon.work.context import Context
from daemon.work.revision_exam import RevisionExam, exam_of_revision
from daemon.work.sweep import assemble
from pipeline.result import StudyResult

TOKEN = "a-token-that-nobody-guesses"
NOW, QUIET_S = 1_800_000_000.0, 3600.0
# Which port a worker is to use for one where the spool is shared: a line that counts may lie between.
Line = Callable[[int], int]


@dataclass(frozen=True)
class Evaluated:
    """`seconds`, `cpu_s`: of the analysis. `copies`: the files that the worker took over, none with the spool."""

    result: StudyResult
    seconds: float
    cpu_s: float
    copies: tuple[Path, ...]
    context: Context
    revision_id: str

    @property
    def exam(self) -> RevisionExam:
        """The exam once more, as another revision would ask for it."""
        with self.context.ledger.read() as connection:
            row = the_row(connection, RevisionRow, self.revision_id)
        return exam_of_revision(self.context, self.result.study_uid, row.inputs)


def _received(root: Path, files: Sequence[Path]) -> None:
    spool = Spool(root)
    journal = JournalWriter(spool.journal, "MR", "127.0.0.1")
    refused = [outcome for _, outcome in spool.ingest(files, journal) if isinstance(outcome, Exception)]
    journal.close("released")
    assert not refused


@contextmanager
def evaluated(
    folder: Path,
    files: Sequence[Path],
    sections: Mapping[str, object],
    *,
    line: Line | None,
    packed: bool = True,
) -> Iterator[Evaluated]:
    """The exam of these files in a spool of its own, analysed.

    `line` None: by a worker that has the spool; else by one that reads it over a line, and makes its report.
    """
    root = folder / "spool"
    _received(root, files)
    here = Settings.model_validate({**sections, "spool": {"path": root, "share_port": 0, "share_token": TOKEN}})
    with ExitStack() as stack:
        ledger = open_ledger(here)
        stack.callback(ledger.close)
        index_once(ledger, Spool(root), NOW, here, key_for(here, ledger, NOW))
        settings = here
        if line is not None:
            server = stack.enter_context(sharing(here.spool))
            assert server is not None
            url = f"http://127.0.0.1:{line(server.server_port)}"
            away = {"path": folder / "worker", "remote": url, "share_token": TOKEN, "remote_packed": packed}
            settings = Settings.model_validate({**sections, "spool": away})
        context = Context(settings, ledger, lambda: NOW + QUIET_S, lambda task, name: True)
        assemble(context)
        with ledger.read() as connection:
            revision_id = str(connection.execute(sa.select(revisions.c.id)).scalar_one())
        began, used = time.perf_counter(), time.process_time()
        analyse.run(context, revision_id)
        took = time.perf_counter() - began, time.process_time() - used
        if line is not None:
            report.run(context, revision_id)
        made = root / "results" / revision_id
        result = StudyResult.from_json((made / "result.json").read_bytes())
        copies = tuple(sorted((settings.spool.path / "copies" / "instances").rglob("*.dcm")))
        yield Evaluated(result, *took, copies, context, revision_id)


def without_times(result: StudyResult) -> StudyResult:
    return result.model_copy(update={"timings_s": {}})
