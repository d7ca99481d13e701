"""What stored evaluations say for or against a signature, by today's gate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.signature import card

Cohorts = dict[str, dict[str, Json]]


def read(path: Path) -> dict[str, Json]:
    """A stored evaluation.

    Raises:
        InputRejected: it is none, or its scores cannot be judged again.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not {"signature", "nested_cv", "cohorts"} <= facts.keys():
            raise ValueError("it is no evaluation")
        for row in card.external(facts).values():
            card.stored_scores(row)
    except (OSError, ValueError, TypeError, AttributeError, AssertionError, LookupError, ArithmeticError) as error:
        raise InputRejected(
            f"the stored evaluation {path} cannot be used ({error}); remove it, and run axrad signature evaluate again",
            code="evaluation-damaged",
        ) from error
    return dict(facts)


def external_cohorts(evaluations: Iterable[Mapping[str, Json]], minimum_per_class: int) -> Cohorts:
    """The external cohorts of all evaluations, by the digest of their table, judged again.

    One without `scores` was stored before they were kept; it stands as it was judged then, until it is judged anew.
    What one evaluation knew of repeated cases of a table holds for all of that table.
    """
    cohorts: Cohorts = {}
    for facts in evaluations:
        for name, cohort in card.external(facts).items():
            judged, key = card.judged_again(cohort, minimum_per_class), str(cohort["table_sha256"])
            before = cohorts.get(key, {})
            repeated = {
                *map(int, map(str, card.repeated_rows(before))),
                *map(int, map(str, card.repeated_rows(cohort))),
            }
            if judged is not None or "scores" not in before:
                cohorts[key] = {"name": name, **(judged or cohort)}
            if repeated:
                cohorts[key]["rows_with_repeated_values"] = [*sorted(repeated)]
    return cohorts


def against(cohorts: Cohorts) -> str:
    """The sentences of the cohorts that speak against it; "" where none does."""
    return " ".join(dict.fromkeys(s for row in cohorts.values() if (s := card.against(str(row["name"]), row))))


def lacking(cohorts: Cohorts, minimum_per_class: int) -> str:
    """Why no cohort speaks for it; "" where one does."""
    if any("scores" in row and card.is_evidence(row) for row in cohorts.values()):
        return ""
    stale = ", ".join(str(row["name"]) for row in cohorts.values() if "scores" not in row)
    what = (
        f"cohort {stale} was judged before the scores of its cases were kept and has to be judged anew"
        if stale
        else f"no evaluation on an independent cohort of at least {minimum_per_class} cases per class is recorded"
    )
    return f"{what}. Run axrad signature evaluate with this registry, or activate it with --unevaluated."
