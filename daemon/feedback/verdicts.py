"""Verdicts in the ledger, each beside the prediction that it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from daemon.ledger.rows import JsonObject
from daemon.ledger.tables import feedback, studies
from pipeline.result import StudyResult

# The result of a revision, as a file; None where it is not kept.
ResultOf = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True)
class VerdictOf:
    """What a verdict is about and where it stands. `revision_id`: None where the study has no report.

    `source`: "reader" or "pathology". `document`: the UID of the reader's report, or the table. `side`: empty for both.
    """

    study_id: str
    revision_id: str | None
    source: str
    document: str
    side: str


def results_in(spool_root: Path) -> ResultOf:
    """Results that lie in a spool of this machine."""

    def result_of(revision_id: str) -> Path | None:
        path = spool_root / "results" / revision_id / "result.json"
        return path if path.exists() else None

    return result_of


def store_verdict(
    connection: sa.Connection,
    result_of: ResultOf,
    about: VerdictOf,
    verdict: str,
    now: float,
    author: dict[str, str] | None = None,
) -> None:
    """Store a verdict with what the result predicted; one of the same source, document and side is replaced."""
    key = {"study_id": about.study_id, "source": about.source, "document": about.document, "side": about.side}
    connection.execute(feedback.delete().filter_by(**key))
    predicted = _predicted(result_of, about.revision_id, about.side) if about.revision_id is not None else {}
    connection.execute(
        feedback.insert().values(
            **key, revision_id=about.revision_id, verdict=verdict, said_at=now, **predicted, **(author or {})
        )
    )


def _predicted(result_of: ResultOf, revision_id: str, side: str) -> JsonObject:
    """What the result predicted for this side, if there is exactly one prediction."""
    # Not at the top: it loads the metrics library, whose folder must be set first.
    from daemon.metrics.results import scanner_of

    path = result_of(revision_id)
    if path is None:
        return {}
    result = StudyResult.from_json(path.read_bytes())
    predictions = [p.prediction for s, p in result.parts() if p.prediction is not None and side in ("", s or side)]
    if len(predictions) != 1:
        return {"scanner": scanner_of(result)}
    (prediction,) = predictions
    return {
        "scanner": scanner_of(result),
        "signature": prediction.signature[:128],
        "probability": prediction.probability,
        "cutoff": prediction.cutoff,
        "category": prediction.category,
    }


def listed(connection: sa.Connection, limit: int = 1000) -> list[JsonObject]:
    """All feedback, newest first, with the study it is about."""
    rows = connection.execute(
        sa.select(feedback, studies.c.study_uid)
        .join(studies, studies.c.id == feedback.c.study_id)
        .order_by(feedback.c.said_at.desc(), feedback.c.id.desc())
        .limit(limit)
    ).all()
    return [
        {
            "study": r.study_id,
            "study_uid": r.study_uid,
            "side": r.side or None,
            "source": r.source,
            "verdict": r.verdict,
            "said_at": r.said_at,
            "signature": r.signature,
            "probability": r.probability,
            "cutoff": r.cutoff,
            "category": r.category,
            "scanner": r.scanner,
            "author_claimed": r.author or None,
            "from": r.calling_ae or None,
        }
        for r in rows
    ]
