"""Does a high score go with a shorter time to the event? Kaplan and Meier, log-rank, Cox; by lifelines."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.signature.record import Floats, Signature


@dataclass(frozen=True)
class Curve:
    """Kaplan and Meier's estimate at `times` with its 95 % interval."""

    title: str
    times: Floats
    survival: Floats
    low: Floats
    high: Floats


def analyse(signature: Signature, cohort: Scored, time: str, event: str) -> tuple[dict[str, Json], tuple[Curve, ...]]:
    """High against low score (at the cutoff): curves, log-rank P, hazard ratios (high against low, and per 0.1).

    Rows without a time or event are left out and counted.

    Raises:
        InputRejected: a time is negative, or an event neither 0 nor 1.
    """
    times, events = _column(cohort, time), _column(cohort, event)
    complete = ~(np.isnan(times) | np.isnan(events))
    wrong = complete & ((times < 0) | ~np.isin(events, (0, 1)))
    if wrong.any():
        rows = ", ".join(map(str, (np.flatnonzero(wrong) + 1)[:10].tolist()))
        raise InputRejected(
            f"{cohort.table.name}: {time} must not be negative and {event} must be 0 or 1: rows {rows}", code="survival"
        )
    p = cohort.probabilities[complete]
    high = p >= signature.header.cutoff
    times, happened = times[complete], events[complete] == 1
    facts: dict[str, Json] = {
        "time": time,
        "event": event,
        "n": int(complete.sum()),
        "not_told": int((~complete).sum()),
        "events": int(happened.sum()),
        "high": int(high.sum()),
        "low": int((~high).sum()),
    }
    if not happened.any() or high.all() or not high.any():
        return {**facts, "why_not": "no events, or all scores on one side of the cutoff"}, ()
    curves = tuple(_curve(t, times[w], happened[w]) for t, w in (("high score", high), ("low score", ~high)))
    facts["logrank_p"] = _logrank(times, happened, high)
    facts["hazard_ratio_high_against_low"] = _cox(times, happened, high.astype(float))
    facts["hazard_ratio_per_0.1"] = _cox(times, happened, p * 10)
    return facts, curves


def _column(cohort: Scored, name: str) -> Floats:
    cells = [str(c).strip() for c in cohort.table.others[name]]
    try:
        return np.array([np.nan if c in ("", "nan", "None", "NA") else float(c) for c in cells])
    except ValueError as error:
        raise InputRejected(f"{cohort.table.name}, column {name}: {error}", code="survival") from None


def _curve(title: str, times: Floats, events: npt.NDArray[np.bool_]) -> Curve:
    from lifelines import KaplanMeierFitter

    estimate = KaplanMeierFitter().fit(times, events)
    interval = estimate.confidence_interval_.to_numpy()
    return Curve(
        title,
        estimate.survival_function_.index.to_numpy(dtype=np.float64),
        estimate.survival_function_.to_numpy(dtype=np.float64)[:, 0],
        interval[:, 0],
        interval[:, 1],
    )


def _logrank(times: Floats, events: npt.NDArray[np.bool_], high: npt.NDArray[np.bool_]) -> float:
    from lifelines.statistics import logrank_test

    return float(logrank_test(times[high], times[~high], events[high], events[~high]).p_value)


def _cox(times: Floats, events: npt.NDArray[np.bool_], variable: Floats) -> Json:
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    frame = pd.DataFrame({"time": times, "event": events.astype(int), "x": variable})
    try:
        with warnings.catch_warnings():
            # lifelines goes on with a meaningless ratio where the groups separate completely; we do not.
            warnings.simplefilter("error", ConvergenceWarning)
            row = CoxPHFitter().fit(frame, "time", "event").summary.loc["x"]
    except (ConvergenceError, ConvergenceWarning):
        return {"why_not": "the Cox model does not converge: the groups separate completely"}
    return {
        "value": float(row["exp(coef)"]),
        "ci": [float(row["exp(coef) lower 95%"]), float(row["exp(coef) upper 95%"])],
        "p": float(row["p"]),
    }
