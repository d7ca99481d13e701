"""What is known of a family, as `family.json`: its members in the order of asking; what a missing sequence costs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.records import Json
from pipeline.research import agreement
from pipeline.research.families import metrics_table
from pipeline.research.families.train_family import Member, TrainedFamily
from pipeline.research.metrics import Interval
from pipeline.research.tables import design
from pipeline.research.tables.reading import sha256_of
from pipeline.research.training import nested
from pipeline.research.training.nested import Nested
from pipeline.signature.container import to_bytes
from pipeline.signature.family import CLINICAL, SCHEMA
from pipeline.signature.record import Signature


def facts(family: TrainedFamily) -> dict[str, Json]:
    """`family.json`."""
    table, identity = family.table, family.identity
    return {
        "schema": SCHEMA,
        "name": identity.name,
        "version": identity.version,
        "demonstration": identity.demonstration,
        "label_column": table.label_column,
        "positive_value": table.positive_value,
        "negative_value": table.negative_value,
        "positive_class": family.members[0].signature.header.positive_class,
        "table_sha256": table.sha256,
        "exams": len(table),
        "members": [_member(member, family) for member in family.members],
        "left_out": [
            {"name": f"{one.subset.name}@{identity.version}", "groups": [*one.subset.groups], "why": one.why}
            for one in family.left_out
        ],
        "comparison": _comparison(family),
        **_clinical_alone(family),
    }


def _clinical_alone(family: TrainedFamily) -> dict[str, Json]:
    """The file of the clinical variables alone, where there is one: it is no member, and is never asked with them."""
    alone = family.clinical_alone
    if alone is None:
        return {}
    named: Json = {"file": file_name(alone.signature), "sha256": sha256_of(to_bytes(alone.signature))}
    return {CLINICAL: named}


def file_name(signature: Signature) -> str:
    """The member's file in the family's folder."""
    return f"{signature.header.name}.axsig"


def _member(member: Member, family: TrainedFamily) -> dict[str, Json]:
    header, recipe = member.signature.header, member.subset.recipe
    return {
        "file": file_name(member.signature),
        "sha256": sha256_of(to_bytes(member.signature)),
        "name": header.title,
        "sequences": [*recipe.sequences],
        "rois": [*recipe.rois],
        "clinical": [*header.clinical],
        "groups": [*member.subset.groups],
        "reads": [*sorted(member.signature.inputs)],
        "n": len(member.cases.positive),
        "positives": header.positives,
        "negatives": header.negatives,
        "incomplete_exams": member.cases.left_out,
        "incomplete_by_group": {**design.counts_without(family.table, recipe)},
        "features": len(header.columns),
        "cutoff": header.cutoff,
        "nested_cv": _nested(member.judged),
    }


def _comparison(family: TrainedFamily) -> dict[str, Json]:
    """Every member on the same exams, against the first one: the difference of AUC, agreement, reclassification."""
    positive = family.table.positive[family.common]
    n, first = len(positive), family.members[0]
    counts: dict[str, Json] = {"n": n, "positives": int(positive.sum()), "negatives": n - int(positive.sum())}
    if not family.on_common:
        return {**counts, "why_not": "too few exams are complete for every member", "members": []}
    rows: list[Json] = []
    for member, judged in zip(family.members, family.on_common, strict=True):
        row: dict[str, Json] = {"name": member.signature.header.title, **_nested(judged)}
        if member is not first:
            reference = family.on_common[0]
            row["without"] = [*sorted(first.signature.inputs - member.signature.inputs)]
            row["auc_difference"] = _interval(nested.auc_difference(judged, reference))
            row |= agreement.comparison(judged.called, reference.called, positive, judged.patients)
        rows.append(row)
    against = first.signature.header.title
    return {**counts, "against": against, "members": rows, **_metrics(family, positive)}


def _metrics(family: TrainedFamily, positive: npt.NDArray[np.bool_]) -> dict[str, Json]:
    """Every member and the clinical variables alone on the same exams, held out; and each pair of them."""
    judged = {m.signature.header.title: one for m, one in zip(family.members, family.on_common, strict=True)}
    reads: dict[str, frozenset[str]] = {m.signature.header.title: m.signature.inputs for m in family.members}
    alone = family.clinical_alone
    if alone is not None and alone.judged is not None:
        judged[metrics_table.CLINICAL_ALONE] = alone.judged
        reads[metrics_table.CLINICAL_ALONE] = alone.signature.inputs
    rows: list[Json] = [
        metrics_table.row(name, sorted(reads[name]), one.auc, one.called, positive, one.patients)
        for name, one in judged.items()
    ]
    pairs = [
        metrics_table.pair(a, b, nested.auc_difference(one, other), nested.difference_p(one, other))
        for (a, one), (b, other) in combinations(judged.items(), 2)
    ]
    return {"metrics": rows, "comparisons": metrics_table.with_holm(pairs)}


def _nested(judged: Nested) -> dict[str, Json]:
    repeats, folds = judged.fold_aucs.shape
    return {
        "auc": judged.auc.value,
        "ci": [judged.auc.low, judged.auc.high],
        "repeats": int(repeats),
        "folds": int(folds),
        "empty_folds": judged.empty_folds,
    }


def _interval(estimate: Interval) -> Json:
    return {"value": estimate.value, "ci": [estimate.low, estimate.high]}
