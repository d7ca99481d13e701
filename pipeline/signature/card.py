"""The signature card: what it is, what it was made from, how well it does, where it must not be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.records import Json
from pipeline.signature import gate
from pipeline.signature.clustered import Bools, Numbers
from pipeline.signature.record import Floats, Signature

DEMONSTRATION = "DEMONSTRATION: trained on synthetic exams. Its results mean nothing for a patient."


def facts(signature: Signature, evaluation: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """The card as JSON; `evaluation` is what `evaluation.json` holds."""
    h = signature.header
    return {
        "schema": "axrad.card/1",
        "signature": signature.describe(),
        "intended_use": h.intended_use,
        "limits": [*limits(signature, evaluation)],
        "cohort": {
            "table_sha256": h.table_sha256,
            "label_column": h.label_column,
            "positive_value": h.positive_value,
            "negative_value": h.negative_value,
            "positives": h.positives,
            "negatives": h.negatives,
            "incomplete_cases_left_out": h.incomplete_cases_left_out,
            "protocol": {name: fact.model_dump(mode="json") for name, fact in h.protocol.items()},
        },
        "extraction_hash": h.extraction_hash,
        "recipe": h.recipe.model_dump(mode="json"),
        "harmonisation": None if h.harmonisation is None else h.harmonisation.model_dump(mode="json"),
        "selection": {name: evidence.model_dump(mode="json") for name, evidence in h.groups.items()},
        "columns": list(h.columns),
        "constant_columns": list(h.constant_columns),
        "calibration": h.calibration.model_dump(mode="json"),
        "cutoff": h.cutoff,
        "out_of_fold": None if h.out_of_fold is None else h.out_of_fold.model_dump(mode="json"),
        "software": dict(h.software),
        "nested_cv": None if evaluation is None else evaluation["nested_cv"],
        "cohorts": None if evaluation is None else evaluation["cohorts"],
    }


def limits(signature: Signature, evaluation: Mapping[str, Json] | None) -> list[str]:
    """What a reader must know before believing it."""
    h = signature.header
    sentences = []
    if h.demonstration:
        sentences.append(DEMONSTRATION)
    if h.foreign_columns:
        sentences.append("Its columns are not features of axrad: it cannot be run on images.")
    if h.level_split is not None:
        sentences.append(
            f"For research alone: it tells {' or '.join(h.level_split.positive)} from "
            f"{' or '.join(h.level_split.negative)}, one question of several to ordered levels. It can never be active."
        )
    sentences += conclusions(evaluation)
    for name, row in external(evaluation).items():
        others = row.get("patients_not_compared_with")
        if isinstance(others, list) and others:
            sentences.append(
                f"Whether cohort {name} shares patients with {', '.join(map(str, others))} is not checked: their "
                "tables do not name patients under one key (axrad extract --patient-key)."
            )
    if not any(is_evidence(row) for row in external(evaluation).values()):
        sentences.append("No independent cohort of enough cases speaks for it: it cannot be activated.")
    if h.calibration.method == "paper":
        sentences.append(
            "Selection saw every training case before calibration, and the cutoff is from training scores."
        )
    if h.calibration.a == 0:
        sentences.append(
            "Out of fold its scores do not rise with the positive class: every probability is the prevalence."
        )
    if h.out_of_fold is not None and h.out_of_fold.empty_folds:
        sentences.append(f"In {h.out_of_fold.empty_folds} of {h.out_of_fold.folds} folds no column passed selection.")
    if h.incomplete_cases_left_out:
        sentences.append(f"{h.incomplete_cases_left_out} incomplete cases were left out of training.")
    if h.extraction_hash is None:
        sentences.append("The training table does not tell its extraction settings; they cannot be checked.")
    if not h.protocol:
        sentences.append(
            "The training table has no protocol facts; vendor, field strength and spacing are not checked."
        )
    sentences += _of_scanners(signature, evaluation)
    sentences.append(events_per_candidate(signature))
    sentences.append(
        f"Trained on {h.positives} + {h.negatives} cases; an exam unlike them is flagged or not evaluated."
    )
    return sentences


def _of_scanners(signature: Signature, evaluation: Mapping[str, Json] | None) -> list[str]:
    """What harmonisation leaves out: scanners that training did not have, and cases of them in each cohort."""
    harmonised = signature.header.harmonisation
    if harmonised is None:
        return []
    groups = ", ".join(group.name for group in harmonised.groups)
    sentences = [
        f"It answers exams of the scanner groups {groups} alone: others are not evaluated, or go to the next signature "
        "in use (`signature.unknown_scanner`)."
    ]
    for name, row in external(evaluation).items():
        unknown = row.get("unknown_scanner_groups_left_out")
        if isinstance(unknown, dict) and unknown:
            counts = ", ".join(f"{group} {count}" for group, count in unknown.items())
            sentences.append(f"Of cohort {name} cases of other scanner groups were left out: {counts}.")
    return sentences


def external(evaluation: Mapping[str, Json] | None) -> dict[str, dict[str, Json]]:
    """The external cohorts of an evaluation, by name."""
    rows = {} if evaluation is None else evaluation.get("cohorts")
    assert isinstance(rows, dict)
    return {n: row for n, row in rows.items() if isinstance(row, dict) and row["role"] == "external"}


def columns_of_fairness(tables: Sequence[Mapping[str, Json]]) -> tuple[list[str], list[str]]:
    """Columns by which fairness tables of cohorts were made, and those of whom or what that none of them has."""

    def names(table: Mapping[str, Json], key: str) -> set[str]:
        listed = table.get(key)
        return set(map(str, listed)) if isinstance(listed, list) else set()

    made = [names(table, "columns") for table in tables if table]
    absent = [names(table, "columns_not_in_table") for table in tables if table]
    return sorted(set().union(*made)), sorted(set.intersection(*absent)) if absent else []


def repeated_rows(row: Mapping[str, Json]) -> list[Json]:
    """Rows of a cohort that may be cases of another one under another id."""
    rows = row.get("rows_with_repeated_values", [])
    assert isinstance(rows, list)
    return rows


def candidates(signature: Signature) -> int:
    """Columns that the recipe could choose from, constant ones aside."""
    return sum(evidence.candidates for evidence in signature.header.groups.values())


def events_per_candidate(signature: Signature) -> str:
    """The smaller class against the columns that selection saw, as a sentence."""
    events, columns = min(signature.header.positives, signature.header.negatives), candidates(signature)
    share = f"{events / max(columns, 1):.2g} per candidate"
    return f"{events} cases of the smaller class for {columns} candidate columns: {share}."


def selection_stability(nested: Mapping[str, Json]) -> str:
    """How much the columns depend on who was in training, as a sentence; of an older evaluation it is not known."""
    selection = nested.get("selection")
    if not isinstance(selection, dict):
        return "How much selection depends on the training cases was not computed: evaluate again."
    often = selection["chosen_by_half"]
    assert isinstance(often, dict)
    nogueira = selection["nogueira"]
    index = "cannot be had: every fit chose all columns, or none"
    if isinstance(nogueira, dict):
        low, high = nogueira["ci"]  # type: ignore[misc, str-unpack]
        index = f"{nogueira['value']:.2f} (95 % interval {low:.2f} to {high:.2f}; 1: always the same, 0: by chance)"
    named = f": {', '.join(f'`{name}` {part:.0%}' for name, part in list(often.items())[:10])}" if often else ""
    more = f" and {len(often) - 10} more" if len(often) > 10 else ""
    return (
        f"Selection over {selection['fits']} folds: Jaccard {selection['jaccard']:.2f} in the mean of all pairs, "
        f"Nogueira's index {index}; {len(often)} columns were chosen by at least half of the folds{named}{more}."
    )


def is_evidence(row: Mapping[str, Json]) -> bool:
    """Whether an external cohort speaks for the signature: as trained, and no case of it is known from elsewhere."""
    return row["orientation"] == gate.AS_TRAINED and not repeated_rows(row)


def standing(row: Mapping[str, Json]) -> str:
    """The gate's word of an external cohort, for people: with a remark where cases of it are known from elsewhere."""
    return f"{row['orientation']}{', not independent' if repeated_rows(row) else ''}"


def verdicts(evaluation: Mapping[str, Json] | None) -> list[tuple[str, str]]:
    """(orientation, sentence) of every external cohort that speaks against the signature."""
    return [
        (str(row["orientation"]), sentence)
        for name, row in external(evaluation).items()
        if (sentence := against(name, row))
    ]


def conclusions(evaluation: Mapping[str, Json] | None) -> list[str]:
    """What stands loudly over an evaluation: each external cohort that speaks against it, or cannot speak for it."""
    rows = external(evaluation).items()
    shared = [
        f"NOT INDEPENDENT: {count} cases of cohort {name} have the values of training cases or of another cohort's; "
        "it is no evidence."
        for name, row in rows
        if (count := len(repeated_rows(row)))
    ]
    few = [
        f"TOO FEW cases on cohort {name} ({_estimate(row)}): with fewer than {row['minimum_per_class']} "
        "of either class it is no evidence, for or against."
        for name, row in rows
        if row["orientation"] == gate.TOO_FEW
    ]
    return [sentence for _, sentence in verdicts(evaluation)] + few + shared


def against(name: str, row: Mapping[str, Json]) -> str:
    """Why an external cohort speaks against the signature; "" where it does not."""
    if row["orientation"] == gate.INVERTED:
        return f"INVERTED on cohort {name} ({_estimate(row)}): it ranks the wrong class first."
    if row["orientation"] == gate.NO_EVIDENCE:
        return f"NO EVIDENCE on cohort {name} ({_estimate(row)}): not distinguishable from chance."
    return ""


def _estimate(row: Mapping[str, Json]) -> str:
    low, high = row["ci"]  # type: ignore[misc, str-unpack]
    return f"AUC {row['auc']:.2f}, 95 % interval {low:.2f} to {high:.2f}, n = {row['n']}"


def judged_again(row: Mapping[str, Json], minimum_per_class: int) -> dict[str, Json] | None:
    """A stored cohort with AUC, interval and orientation by today's gate; None: no scores were stored with it.

    Raises:
        ValueError: the scores are no scores.
    """
    scores = stored_scores(row)
    return None if scores is None else {**row, **gate.facts(gate.discrimination(*scores), minimum_per_class)}


def stored_scores(row: Mapping[str, Json]) -> tuple[Floats, Bools, Numbers] | None:
    """Decisions, classes and patients of a stored cohort; None where none were stored. Raises ValueError as above."""
    scores = row.get("scores")
    if not isinstance(scores, dict):
        return None
    decisions, positive = np.array(scores["decisions"], np.float64), np.array(scores["positive"], np.bool_)
    patients = np.array(scores.get("patients", range(len(positive))), np.intp)
    if not (decisions.shape == positive.shape == patients.shape) or positive.all() or not positive.any():
        raise ValueError("its scores are not of cases of two classes")
    if not np.isfinite(decisions).all():
        raise ValueError("its scores are not finite")
    return decisions, positive, patients


def merge(evaluations: Sequence[Mapping[str, Json]]) -> dict[str, Json] | None:
    """Several evaluations of one signature as one; a cohort's last one counts."""
    if not evaluations:
        return None
    cohorts: dict[str, Json] = {}
    nested: Json = None
    sites: Json = None
    for evaluation in evaluations:
        rows = evaluation["cohorts"]
        assert isinstance(rows, dict)
        cohorts.update(rows)
        nested = evaluation["nested_cv"] or nested
        sites = evaluation.get("leave_one_site_out") or sites
    return {"nested_cv": nested, "cohorts": cohorts, "leave_one_site_out": sites}


def performance(signature: Signature, evaluation: Mapping[str, Json] | None) -> list[str]:
    """AUCs wherever it was scored, as lines of a Markdown table."""
    head, *rows = performance_rows(signature, evaluation)
    lines = ["|".join(["", *(f" {cell} " if cell else " " for cell in row), ""]) for row in (head, *rows)]
    return [lines[0], "|---|---|---|---|---|", *lines[1:]]


def performance_rows(
    signature: Signature, evaluation: Mapping[str, Json] | None
) -> list[tuple[str, str, str, str, str]]:
    """AUCs wherever it was scored: the heads of a table, then its rows."""
    lines = [("where", "cases", "AUC", "95 % interval", "orientation")]
    out_of_fold = signature.header.out_of_fold
    if out_of_fold is not None:
        lines.append(("training, out of fold (once)", "", f"{out_of_fold.auc:.3f}", "", ""))
    if evaluation is None:
        return lines
    nested = evaluation["nested_cv"]
    if isinstance(nested, dict):
        lines.append(("nested cross-validation", str(nested["n"]), *_auc(nested), ""))
    rows = evaluation["cohorts"]
    assert isinstance(rows, dict)
    for name, row in rows.items():
        assert isinstance(row, dict)
        where = name if row["role"] == "external" else f"{name}: {row['role']}"
        orientation = standing(row) if row["role"] == "external" else ""
        lines.append((where, str(row["n"]), *_auc(row), orientation))
    return lines


def _auc(row: Mapping[str, Json]) -> tuple[str, str]:
    low, high = row["ci"]  # type: ignore[misc, str-unpack]
    return f"{row['auc']:.3f}", f"{low:.3f} to {high:.3f}"
