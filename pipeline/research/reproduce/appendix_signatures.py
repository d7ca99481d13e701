"""The appendix, as far as the released tables have it: AUCs of all signatures, combined calls, who is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.records import Json
from pipeline.research.appendix import figures
from pipeline.research.appendix.calls import Call, combined, contests, judged, right_by
from pipeline.research.metrics import newcombe
from pipeline.research.reproduce import recipe
from pipeline.research.reproduce.released_tables import COHORTS, Bools, Cohort, Tables

# What stands in the name of a column of each signature's features; "" is in every name.
_BLOCKS = {
    "ALN": ("L",), "tumour": ("T",), "T1+C": ("TT1C", "LT1C"), "T2": ("TT2FS", "LT2FS"), "ADC": ("TADC", "LADC"),
    "ALN-tumour": ("",),
}  # fmt: skip
_REPEATS = 2
MISSING = (
    "Which features the paper selected for the signatures of one region or one sequence (pp 11-12, 16): here each has "
    "the released columns of its block, which were selected for the signature of both regions.",
    "The radiologists by ultrasound, and by MRI and ultrasound (pp 17-18): one column of diagnoses was released.",
    "The original values of the clinical variables (p 19): they are coded, without a key.",
    "The number of positive nodes (p 20): no table has it.",
    "Who responded to the neoadjuvant treatment: no table has it.",
)


@dataclass(frozen=True)
class Appendix:
    """`facts`: `appendix` in reproduction.json; `flow`: training patients by node status and by who is right."""

    facts: dict[str, Json]
    flow: pd.DataFrame


def appendix(tables: Tables) -> Appendix:
    """Fit the signatures of the blocks, and combine the calls of two of them and of the radiologists in training.

    Calls of signatures are at Youden's cutoff, and of the cases that they were fitted to, as in the paper.
    """
    cohorts = {name: cohort.complete() for name, cohort in tables.fig2b.items()}
    fitted = {name: _fitted(_block(cohorts, starts)) for name, starts in _BLOCKS.items()}
    clinical = {name: _clinical(cohort) for name, cohort in tables.fig2c.items()}
    multiomic = {name: cohort.complete() for name, cohort in tables.fig2c.items()}
    facts = {name: row for name, (row, _) in fitted.items()}
    facts |= {"clinical": _fitted(clinical)[0], "multiomic": _fitted(multiomic)[0]}
    training = cohorts["training"]
    read = tables.fig2d["Radiologistsdiagnosis"].reindex(training.features.index)
    both = read.notna().to_numpy()
    positive = training.positive[both]
    calls = [Call(name, fitted[name][1][both]) for name in ("ALN", "tumour", "ALN-tumour")]
    calls.append(Call("radiologists", (read[both] >= 1).to_numpy()))
    right = right_by(calls[0], calls[1], positive)
    status = np.where(positive, "R (node-positive)", "N (node-negative)")
    return Appendix(
        {
            "signatures": facts,
            "n": len(positive),
            "calls": [_accuracy(c, positive, rule=n >= len(calls)) for n, c in enumerate([*calls, *combined(calls)])],
            "mcnemar": [
                {"a": t.a, "b": t.b, "measure": t.measure, "only_a": t.only_a, "only_b": t.only_b, "p": t.p,
                 "p_holm": t.p_holm}
                for t in contests(calls, combined(calls), positive)
            ],
            "right": {str(name): int(count) for name, count in right.value_counts().items()},
        },
        pd.DataFrame({"node status": status, "classified right by": right}),
    )  # fmt: skip


def sankey(worked_out: Appendix) -> str:
    """The appendix's diagram of who is classified right by ALN, tumour, both or neither signature."""
    return figures.sankey(worked_out.flow, "Sankey diagram of who is classified right")


def _block(cohorts: dict[str, Cohort], starts: tuple[str, ...]) -> dict[str, Cohort]:
    """The cohorts with the features alone whose names begin so."""
    blocks = {}
    for name, cohort in cohorts.items():
        columns = [c for c in cohort.features.columns if c.startswith(starts)]
        blocks[name] = Cohort(name, cohort.features[columns], cohort.clinical, cohort.positive)
    return blocks


def _clinical(cohort: Cohort) -> Cohort:
    return Cohort(cohort.name, cohort.features.iloc[:, :0], cohort.clinical, cohort.positive).complete()


def _fitted(cohorts: dict[str, Cohort]) -> tuple[Json, Bools]:
    """AUCs by cohort with one positive class, cross-validated in training, and the calls in training."""
    training = cohorts["training"]
    machine = recipe.fit(training.design(), training.positive)
    row: dict[str, Json] = {"columns": training.design().shape[1]}
    for name in COHORTS:
        area = newcombe(machine.scores(cohorts[name].design()), cohorts[name].positive)
        row[name] = {"auc": area.value, "ci": [area.low, area.high], "n": len(cohorts[name].positive)}
    row["cross_validated"] = recipe.cross_validated_auc(training, repeats=_REPEATS)[0]
    scores = machine.scores(training.design())
    return row, scores >= recipe.youden(scores, training.positive)


def _accuracy(call: Call, positive: Bools, *, rule: bool) -> Json:
    measures = judged(call, positive, rule=rule).accuracy
    return {"name": call.name, **{k: None if v is None else v.value for k, v in measures.items()}}
