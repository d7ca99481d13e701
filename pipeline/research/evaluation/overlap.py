"""Cohorts that share cases: by id, by the patient's key, and by values that are equal, or nearly, under other names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import InputRejected
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.tables import patients
from pipeline.research.training.train import digests
from pipeline.signature.record import Signature

_Row = tuple[str, int]
# So many columns of a signature that agree to 1e-6 are no chance, where they are all that the file holds of a case.
_LEAST_COLUMNS = 5


def refuse_shared_patients(signature: Signature, cohorts: list[Scored]) -> None:
    """Refuse an id that occurs in two cohorts, or in the training cohort and another one.

    Raises:
        InputRejected: naming the rows.
    """
    seen: dict[tuple[str | None, str], tuple[str, int]] = {}
    for cohort in cohorts:
        key, digests_of_patients = patients.key_of(cohort.table), patients.keys(cohort.table)
        ids = cohort.table.ids if cohort.table.id_column is not None else ()
        named: list[tuple[int, tuple[str | None, str]]] = [(row, (None, case)) for row, case in enumerate(ids)]
        named += [(row, (key, patient)) for row, patient in enumerate(digests_of_patients) if patient]
        for row, who in named:
            place, other = seen.setdefault(who, (cohort.name, row + 1))
            if place != cohort.name:
                raise InputRejected(
                    f"the same patient is in two cohorts: {place} row {other} and {cohort.name} row {row + 1}",
                    code="duplicate-patients",
                )
        if cohort.table.id_column is None:
            continue
        known = _known(signature, "case_digests")
        rows = [i + 1 for i, case in enumerate(cohort.table.ids) if _digest(case, signature) in known]
        if rows and not cohort.training:
            raise InputRejected(
                f"cohort {cohort.name} shares {len(rows)} patients with the training cohort: rows "
                f"{', '.join(map(str, rows[:10]))}{' and more' if len(rows) > 10 else ''}",
                code="duplicate-patients",
            )


def unchecked_overlap(cohorts: list[Scored]) -> dict[str, list[str]]:
    """Per cohort the others with which it may share patients that nobody can find: their keys for patients differ."""
    keys = {cohort.name: patients.key_of(cohort.table) for cohort in cohorts}
    return {name: [n for n, k in keys.items() if n != name and (k is None or k != key)] for name, key in keys.items()}


def repeated_values(signature: Signature, cohorts: list[Scored]) -> dict[str, list[int]]:
    """Rows of each cohort whose values are those of a case in training or in another cohort, all or 99 % to 1e-6.

    Under another id that may be the same patient all the same; the report says so, and such a cohort is no evidence.
    Of training cases whose table is not among the cohorts the file knows exactly equal ones, and nearly equal ones
    where they are its support vectors.
    """
    known = _known(signature, "row_digests")
    owners: dict[bytes, set[str]] = {}
    for cohort in cohorts:
        for row in cohort.raw:
            owners.setdefault(row.tobytes(), set()).add(cohort.name)
    nearly = {*_nearly_in_another(cohorts), *_nearly_in_training(signature, cohorts)}
    return {
        cohort.name: [
            i + 1
            for i, row in enumerate(cohort.raw)
            if len(owners[row.tobytes()]) > 1
            or (cohort.name, i) in nearly
            or (not cohort.training and _digest(row.tobytes().hex(), signature) in known)
        ]
        for cohort in cohorts
    }


def _nearly_in_another(cohorts: Sequence[Scored]) -> Iterator[_Row]:
    """Rows that nearly equal one of another cohort in the features that all tables have. Published tables: none."""
    tables = [cohort.table for cohort in cohorts]
    if len(tables) < 2 or any(table.foreign_columns for table in tables):
        return
    shared = set(tables[0].columns).intersection(*(table.columns for table in tables[1:]))
    parts = []
    for table in tables:
        place = {name: j for j, name in enumerate(table.columns)}
        parts.append(table.features[:, [place[name] for name in sorted(shared)]])
    rows = [(cohort.name, i) for cohort in cohorts for i in range(len(cohort.table))]
    for a, b in patients.nearly_equal(np.vstack(parts)):
        if rows[a][0] != rows[b][0]:
            yield from (rows[a], rows[b])


def _nearly_in_training(signature: Signature, cohorts: Sequence[Scored]) -> Iterator[_Row]:
    """Rows of other cohorts that nearly equal a training case which the file holds as a support vector."""
    others = [cohort for cohort in cohorts if not cohort.training]
    if "support" not in signature.arrays or signature.header.foreign_columns or not others:
        return
    z = signature.array("support") * signature.array("s_std") + signature.array("s_mean")
    held = z * signature.array("z_std") + signature.array("z_mean")
    rows: list[_Row | None] = [None] * len(held)
    rows += [(cohort.name, i) for cohort in others for i in range(len(cohort.raw))]
    for a, b in patients.nearly_equal(np.vstack([held, *(cohort.raw for cohort in others)]), _LEAST_COLUMNS):
        row = rows[b]
        if rows[a] is None and row is not None:
            yield row


def _known(signature: Signature, name: str) -> set[bytes]:
    return {bytes(d) for d in np.asarray(signature.arrays[name])}


def _digest(text: str, signature: Signature) -> bytes:
    return bytes(digests((text,), signature.header.table_sha256)[0])
