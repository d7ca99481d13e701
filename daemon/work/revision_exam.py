"""The exam of a revision: the facts that it was judged by, and its files as they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from daemon.ledger.rows import Inputs, InstanceRow, rows_where
from daemon.ledger.tables import instances
from daemon.work.context import Context
from pipeline.catalog import Bring, Exam, InstanceFacts, exam_of, facts_from_json
from pipeline.errors import FileSetAside, TryLater


class FilesGone(TryLater):
    """Files of this revision are no longer in the spool; they may be fetched or sent again."""

    code = "files-gone"


class RevisionExam(NamedTuple):
    """Facts whose paths say where the files are once `bring` was asked for them."""

    exam: Exam
    bring: Bring


def exam_of_revision(context: Context, study_uid: str, inputs: Inputs) -> RevisionExam:
    """The instances that were judged when the revision was made.

    What was selected must be there; of the rest the facts do, so that the judgement comes out as it did.
    """
    ids = inputs["context"]
    selected = {uid for uid, _ in inputs["selected"]}
    facts: list[InstanceFacts] = []
    by_path: dict[Path, InstanceRow] = {}
    with context.ledger.read() as connection:
        for start in range(0, len(ids), 500):
            some = instances.c.id.in_(ids[start : start + 500])
            for row in rows_where(connection, InstanceRow, some, order_by=[instances.c.id]):
                path = context.files.place(row) if row.state == "stored" else None
                if row.state == "unreadable" and row.sop_uid in selected:
                    raise FileSetAside(f"instance {row.sop_uid} is {row.note}", uid=row.sop_uid)
                if path is None and row.sop_uid in selected:
                    raise _gone(row.sop_uid)
                if path is not None:
                    by_path[path] = row
                facts.append(facts_from_json(row.facts, path))

    def bring(needed: Iterable[InstanceFacts]) -> None:
        paths = dict.fromkeys(one.path for one in needed if one.path is not None)
        # What software of ours proposed is a result, and here already.
        gone = context.files.bring([by_path[path] for path in paths if path in by_path])
        if gone:
            # The intake host's next reconciliation says so in the ledger too.
            raise _gone(gone[0].sop_uid)

    return RevisionExam(replace(exam_of(study_uid, facts), choices=inputs.get("chosen_series", {})), bring)


def _gone(uid: str) -> FilesGone:
    return FilesGone("files of this exam are no longer in the spool", uid=uid)
