"""Tables of a model card, from a signature's header and the facts of `evaluation.json`, of whatever version."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.records import Json
from pipeline.signature import card
from pipeline.signature.document import Grid
from pipeline.signature.record import Header, Signature


def performance(signature: Signature, evaluation: Mapping[str, Json] | None) -> Grid:
    """AUCs wherever it was scored."""
    head, *rows = card.performance_rows(signature, evaluation)
    return Grid(head, tuple(rows))


def selection(header: Header) -> Grid:
    """What selection did with each group of columns."""
    rows = tuple((name, str(g.candidates), str(g.passed), str(g.kept)) for name, g in header.groups.items())
    return Grid(("group", "candidates", "passed", "kept"), rows)


def cohorts(rows: Mapping[str, Mapping[str, Json]]) -> Grid:
    """Sizes of external cohorts, and what is known of their origin."""
    lines = []
    for name, row in rows.items():
        outside = dictionary(row.get("outside_training_range")).get("n", "")
        cells = (row["n"], row.get("patients"), row["positives"], row.get("prevalence"), outside)
        origins = row.get("origins")
        regions = ", ".join(map(str, origins)) if isinstance(origins, list) else ""
        lines.append((name, *map(number, cells), regions, str(row["table_sha256"])[:12]))
    heads = ("cohort", "cases", "patients", "positive", "prevalence", "unlike training", "regions", "table")
    return Grid(heads, tuple(lines))


def at_cutoff(row: Mapping[str, Json]) -> Grid:
    """Rates at the cutoff, calibration, and the answers that the software would give."""
    lines = [(name, number(value)) for name, value in dictionary(row.get("at_cutoff")).items()]
    for name in ("brier", "calibration_slope", "calibration_intercept"):
        if row.get(name) is not None:
            value: Json = {"value": row[name], "ci": row[f"{name}_ci"]} if f"{name}_ci" in row else row[name]
            lines.append((name.replace("_", " "), number(value)))
    if dictionary(row.get("calibration_in_the_large")):
        lines.append(("calibration in the large", number(row["calibration_in_the_large"])))
    if answered := dictionary(row.get("as_answered")):
        calls = f"{answered['high']} high, {answered['low']} low, {answered['indeterminate']} indeterminate"
        lines.append(("as the software answers", f"{answered['refused']} refused, {calls}"))
        lines.append(("wrong among high and low", number(answered["error_of_calls"])))
    return Grid(("", "value (95 % interval)"), tuple((name, text or "not defined") for name, text in lines))


def subgroups(row: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Subgroups of a cohort; none where it was not asked."""
    rows = row.get("subgroups")
    return [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []


def dictionary(value: Json) -> Mapping[str, Json]:
    """A record of a JSON document; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def number(value: Json) -> str:
    """A number for people, with its interval where it has one; "" for none."""
    if isinstance(value, dict):
        ends = value.get("ci")
        if not isinstance(ends, list):
            return ""
        return f"{number(value['value'])} ({number(ends[0])} to {number(ends[1])})"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)
