"""ComBat as a signature keeps it: what harmonisation learnt of each scanner group, applied to new cases.

Johnson, Li and Rabinovic, Biostatistics 2007; 8: 118-127. Fortin et al., NeuroImage 2017; 161: 149-170 and 2018; 167:
104-120. Nothing is estimated here: a group that training did not have has no estimate, and no case of it is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config.schema import ScannerGroup
from pipeline.errors import FeatureRejected, InputRejected
from pipeline.signature import names, scanner_groups
from pipeline.signature.record import Floats, HarmonisationFacts, Signature

Indices = npt.NDArray[np.intp]
PREFIX = "combat_"
# The code of an exam whose scanner group is not among those of training.
UNKNOWN = "unknown-scanner"


@dataclass(frozen=True)
class Harmonisation:
    """Estimates per column (p): `centre` and `scale` of all cases, `effects` (covariates, p); `shift`, `spread`
    (groups, p) of each scanner group in units of `scale`. A column that is not harmonised has shift 0 and spread 1.
    """

    centre: Floats
    effects: Floats
    scale: Floats
    shift: Floats
    spread: Floats

    def applied(self, values: Floats, group: Indices, covariates: Floats) -> Floats:
        """Values (cases, p) of cases by the number of their group, with their covariates (cases, covariates)."""
        mean = self.centre + (covariates[:, :, None] * self.effects[None]).sum(axis=1)
        z = (values - mean) / self.scale
        return np.asarray((z - self.shift[group]) / self.spread[group] * self.scale + mean)

    def on(self, columns: Indices) -> Harmonisation:
        """The estimates of some of the columns."""
        return Harmonisation(*(array[..., columns] for array in self._arrays()))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As a signature file holds them."""
        return {PREFIX + name: array for name, array in zip(self.__annotations__, self._arrays(), strict=True)}

    def _arrays(self) -> tuple[Floats, ...]:
        return self.centre, self.effects, self.scale, self.shift, self.spread


def of(signature: Signature) -> Harmonisation | None:
    """What a signature keeps of it; None where it was trained without."""
    if signature.header.harmonisation is None:
        return None
    return Harmonisation(*(signature.array(PREFIX + name) for name in Harmonisation.__annotations__))


def known_group(
    signature: Signature, facts: Mapping[str, object], rules: Sequence[ScannerGroup]
) -> tuple[int | None, str | None]:
    """The number of an exam's scanner group among those of training (None: not among them), and its name."""
    harmonised = signature.header.harmonisation
    assert harmonised is not None
    name = scanner_groups.group_of(harmonised.columns, facts, rules)
    trained = [group.name for group in harmonised.groups]
    return (trained.index(name) if name in trained else None), name


def harmonised_row(
    signature: Signature,
    row: Floats,
    facts: Mapping[str, object],
    clinical: Mapping[str, object],
    rules: Sequence[ScannerGroup] = (),
) -> tuple[Floats, tuple[str, ...]]:
    """One exam's columns (p,) harmonised, and the sentence that says so; unchanged without harmonisation.

    Raises:
        FeatureRejected: its scanner group is not among those of training, or a covariate is not told.
    """
    estimates, trained = of(signature), signature.header.harmonisation
    if estimates is None or trained is None:
        return row, ()
    number, name = known_group(signature, facts, rules)
    if number is None:
        raise FeatureRejected(
            f"{signature.header.title} is harmonised between scanner groups by {'+'.join(trained.columns)} "
            f"({_listed(trained)}); this exam's is {name or 'not told'}, of which training had no exam",
            code=UNKNOWN,
        )
    covariates = np.array([[_covariate(signature, c, facts, clinical) for c in trained.covariates]])
    changed = estimates.applied(row[None, :], np.array([number]), covariates.reshape(1, -1))[0]
    return changed, (f"features harmonised by ComBat as of the scanner group {name}",)


def covariate_value(column: str, cell: object) -> float:
    """A covariate's cell as a number, NaN where it is empty. Raises ValueError: it is none."""
    number = names.clinical_number(column, cell)
    return np.nan if number is None else number


def _covariate(signature: Signature, column: str, facts: Mapping[str, object], clinical: Mapping[str, object]) -> float:
    cell = clinical.get(column) if column in names.CLINICAL else scanner_groups.fact(facts, column)
    try:
        value = covariate_value(column, cell)
    except ValueError as error:
        raise InputRejected(f"{column}: {error}", code="clinical-value") from None
    if not np.isfinite(value):
        raise FeatureRejected(
            f"{signature.header.title} needs {column} to harmonise scanners, which is missing", code="missing-clinical"
        )
    return value


def _listed(trained: HarmonisationFacts) -> str:
    return " | ".join(group.name for group in trained.groups)
