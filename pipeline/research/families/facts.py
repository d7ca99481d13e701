"""What is known of a family, as `family.json`: its members in the order of asking; what a missing sequence costs."""

from __future__ import annotations

from pipeline.records import Json
from pipeline.research import agreement
from pipeline.research.families.train_family import Member, TrainedFamily
from pipeline.research.metrics import Interval
from pipeline.research.tables import design
from pipeline.research.tables.reading import sha256_of
from pipeline.research.training import nested
from pipeline.research.training.nested import Nested
from pipeline.signature.container import to_bytes
from pipeline.signature.family import SCHEMA
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
    }


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
    return {**counts, "against": first.signature.header.title, "members": rows}


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
