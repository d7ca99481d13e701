"""Does a high score go with a shorter time to the event? Kaplan and Meier, log-rank, Cox; by lifelines."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research.calibration import resampled
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.metrics import Bools, Patients, has_repeats, sums_by_patient
from pipeline.research.tables.row_names import NOBODY
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

    Rows without a time or event are left out and counted. Where patients have several rows, the bands are of a
    bootstrap of patients, the log-rank P is the robust score test's and errors of hazard ratios are by patient.

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
    patients = cohort.patients[complete]
    repeats = has_repeats(patients)
    curves = tuple(
        _curve(t, times[w], happened[w], patients[w] if repeats else None)
        for t, w in (("high score", high), ("low score", ~high))
    )
    by_patient = patients if repeats else None
    test = robust_logrank(times, happened, high, patients) if repeats else _logrank(times, happened, high)
    facts["logrank_p"] = test
    facts["hazard_ratio_high_against_low"] = _cox(times, happened, high.astype(float), by_patient)
    facts["hazard_ratio_per_0.1"] = _cox(times, happened, p * 10, by_patient)
    return facts, curves


def _column(cohort: Scored, name: str) -> Floats:
    cells = [str(c).strip() for c in cohort.table.others[name]]
    try:
        return np.array([np.nan if c in NOBODY else float(c) for c in cells])
    except ValueError as error:
        raise InputRejected(f"{cohort.table.name}, column {name}: {error}", code="survival") from None


def _curve(title: str, times: Floats, events: Bools, patients: Patients | None) -> Curve:
    from lifelines import KaplanMeierFitter

    estimate = KaplanMeierFitter().fit(times, events)
    at = estimate.survival_function_.index.to_numpy(dtype=np.float64)
    low, high = estimate.confidence_interval_.to_numpy().T
    if patients is not None:
        samples = [kaplan_meier(times[drawn], events[drawn], at) for drawn in resampled(patients)]
        low, high = np.quantile(np.array(samples), (0.025, 0.975), axis=0)
    return Curve(title, at, estimate.survival_function_.to_numpy(dtype=np.float64)[:, 0], low, high)


def kaplan_meier(times: Floats, events: Bools, at: Floats) -> Floats:
    """The share free of the event at each of the ascending times `at`; the last value holds after the last time."""
    moments = np.unique(times[events])
    factors = [1 - float((events & (times == t)).sum()) / float((times >= t).sum()) for t in moments]
    steps = np.concatenate([[1.0], np.cumprod(factors)])
    survival: Floats = steps[np.searchsorted(moments, at, side="right")]
    return survival


def robust_logrank(times: Floats, events: Bools, high: Bools, patients: Patients) -> float:
    """Two-sided P of the log-rank test by the patients' own scores (Lee, Wei and Amato 1992).

    Each row's score is what it adds to observed minus expected events; their variance is that of sums per patient.
    """
    scores = np.where(events, high, 0.0)
    for t in np.unique(times[events]):
        at_risk, happened = times >= t, events & (times == t)
        share = high[at_risk].mean()
        scores -= np.where(happened, share, 0.0)
        scores -= np.where(at_risk, happened.sum() / at_risk.sum() * (high - share), 0.0)
    sums = sums_by_patient(scores, patients)
    variance = float((sums**2).sum())
    return 1.0 if variance == 0 else float(stats.chi2.sf(float(sums.sum()) ** 2 / variance, 1))


def _logrank(times: Floats, events: Bools, high: Bools) -> float:
    from lifelines.statistics import logrank_test

    return float(logrank_test(times[high], times[~high], events[high], events[~high]).p_value)


def _cox(times: Floats, events: Bools, variable: Floats, patients: Patients | None) -> Json:
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    frame = pd.DataFrame({"time": times, "event": events.astype(int), "x": variable})
    cluster: dict[str, str] = {}
    if patients is not None:
        frame["patient"], cluster = patients, {"cluster_col": "patient"}
    try:
        with warnings.catch_warnings():
            # lifelines goes on with a meaningless ratio where the groups separate completely; we do not.
            warnings.simplefilter("error", ConvergenceWarning)
            row = CoxPHFitter().fit(frame, "time", "event", **cluster).summary.loc["x"]
    except (ConvergenceError, ConvergenceWarning):
        return {"why_not": "the Cox model does not converge: the groups separate completely"}
    return {
        "value": float(row["exp(coef)"]),
        "ci": [float(row["exp(coef) lower 95%"]), float(row["exp(coef) upper 95%"])],
        "p": float(row["p"]),
    }
