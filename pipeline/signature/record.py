"""What a signature file holds: a header of facts and a set of arrays.

`p` below is the number of columns the classifier sees: the selected features, then the clinical columns, a
category as one 0/1 column per level (`molecular_subtype=luminal A`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from config.schema import Classifier, Settings, Training
from pipeline.errors import InputRejected
from pipeline.extraction_settings import Form, as_trained, hash_of, phase_of
from pipeline.needs import GROUPS, SignatureNeeds
from pipeline.records import Json, Origin
from pipeline.result import Record
from pipeline.signature.level_split import LevelSplit

Floats = npt.NDArray[np.float64]
SCHEMA = "axrad.signature/1"
# The rule by which every cutoff was chosen before there were others.
YOUDEN = "youden"
DRAWN_ONLY: tuple[Origin, ...] = ("drawn",)


class GroupEvidence(Record):
    """What selection did with one sequence x ROI (or with the clinical columns)."""

    candidates: int
    passed: int
    kept: int


class ProtocolFact(Record):
    """How the training exams were acquired: the values seen, or the range of a number."""

    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


class Calibration(Record):
    """Platt: probability = 1 / (1 + exp(a * decision + b)); a <= 0, so more decision is never less probability."""

    a: float = Field(le=0)
    b: float
    method: Literal["out_of_fold", "paper"]


class OutOfFold(Record):
    """Performance inside the training cohort, none of it seen by the fold's selection."""

    auc: float
    folds: int
    empty_folds: int = 0


class TopChoice(Record):
    """The number of features per group that was chosen, and the out-of-fold AUC of each number that was tried."""

    top: int
    auc: dict[str, float]


class TrainedGroup(Record):
    """A scanner group of the training cases: its name, how many of them it has, and how many of these are positive."""

    name: str
    cases: int = Field(ge=1)
    positives: int = Field(ge=0)


class HarmonisationFacts(Record):
    """ComBat between scanner groups: the columns that told the group, the groups in the order of the arrays.

    `covariates`: facts whose part in the features stays. `association`: Cramér's V of group and label in training.
    """

    method: Literal["combat"] = "combat"
    columns: tuple[str, ...] = Field(min_length=1)
    groups: tuple[TrainedGroup, ...] = Field(min_length=2)
    covariates: tuple[str, ...] = ()
    association: float

    @property
    def sentence(self) -> str:
        """What was done between which groups, for the card and for papers."""
        groups = ", ".join(f"{g.name} {g.cases} ({g.positives} positive)" for g in self.groups)
        remaining = (
            f"the part of {', '.join(self.covariates)} in the features stayed" if self.covariates else "no covariates"
        )
        return (
            "ComBat (parametric empirical Bayes) took differences between scanner groups "
            f"({'+'.join(self.columns)}) out of the features: {groups}; {remaining}; estimated on the training cases "
            f"alone, in every fold. Cramér's V of group and label is {self.association:.2f}."
        )

    @property
    def input_name(self) -> str:
        """What an exam must be for it, as text: `scanner group by manufacturer: ge | siemens`."""
        return f"scanner group by {'+'.join(self.columns)}: {' | '.join(group.name for group in self.groups)}"


class Header(Record):
    """Everything about a signature that is not an array.

    `extraction`: the settings that its features were extracted with; None: those that `extraction_hash` names by
    itself (the first defaults), or that were not told. `ki67_high_percent`: from where on Ki-67 was high in the
    molecular subtypes that it was trained on; None: it reads none, or it was not told. `origins`: who made the regions
    that it was trained on. Files of before this was kept have none: drawn by readers. `harmonisation`: between which
    scanner groups; None: none. `level_split`: that it is one question of several to an outcome with more than two
    levels, for research alone; None: its outcome has two.
    """

    schema_: Literal["axrad.signature/1"] = Field("axrad.signature/1", alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+\-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+\-]*$")
    demonstration: bool = False
    label_column: str
    id_column: str | None = None
    positive_value: str
    negative_value: str
    positive_class: str
    table_sha256: str
    extraction_hash: str | None = None
    extraction: Form | None = None
    ki67_high_percent: float | None = Field(None, ge=0, le=100)
    foreign_columns: bool = False
    positives: int
    negatives: int
    incomplete_cases_left_out: int = 0
    recipe: Training
    columns: tuple[str, ...]
    clinical: tuple[str, ...] = ()
    groups: dict[str, GroupEvidence]
    constant_columns: tuple[str, ...] = ()
    classifier: Classifier
    constants: dict[str, float]
    calibration: Calibration
    cutoff: float = Field(ge=0, le=1)
    out_of_fold: OutOfFold | None = None
    top_choice: TopChoice | None = None
    distance_quantiles: dict[str, float]
    protocol: dict[str, ProtocolFact] = Field(default_factory=dict)
    origins: tuple[Origin, ...] = DRAWN_ONLY
    harmonisation: HarmonisationFacts | None = None
    level_split: LevelSplit | None = None
    intended_use: str = ""
    software: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _classes_differ(self) -> Header:
        if self.positive_value == self.negative_value:
            raise ValueError("the positive and the negative class have the same label")
        return self

    @model_validator(mode="after")
    def _extraction_is_that_of_its_hash(self) -> Header:
        if self.extraction is not None and hash_of(self.extraction) != self.extraction_hash:
            raise ValueError("its extraction settings are not those of its extraction hash")
        return self

    @model_serializer(mode="wrap")
    def _bytes_of_files_without_them_stay(self, serialise: SerializerFunctionWrapHandler) -> dict[str, object]:
        facts: dict[str, object] = serialise(self)
        for name in ("extraction", "ki67_high_percent", "top_choice", "harmonisation", "level_split"):
            if facts.get(name) is None:
                facts.pop(name, None)
        recipe = facts.get("recipe")
        if isinstance(recipe, dict) and recipe.get("cutoff") == YOUDEN:
            del recipe["cutoff"]
        if isinstance(recipe, dict) and recipe.get("stable_icc") is None:
            recipe.pop("stable_icc", None)
        if isinstance(recipe, dict) and recipe.get("harmonise") is None:
            for name in ("harmonise", "batch", "covariates"):
                recipe.pop(name, None)
        if self.origins == DRAWN_ONLY:
            facts.pop("origins", None)
        return facts

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def cutoff_rule(self) -> str:
        """How the cutoff was chosen, in words."""
        kind, _, number = self.recipe.cutoff.partition("=")
        where = "on its training scores" if self.calibration.method == "paper" else "out of fold"
        if kind == "sensitivity":
            return f"the highest with sensitivity {float(number):g} {where}"
        if kind == "net-benefit":
            return f"the largest net benefit at threshold {float(number):g} {where}"
        return f"the largest Youden index {where}"


@dataclass(frozen=True)
class Signature:
    """A header, its arrays and the SHA-256 of the file ("" until it was saved).

    Arrays of every signature: `z_mean z_std s_mean s_std range_low range_high` (p), `range_low`/`range_high` in the
    table's units; `precision` (p, p) of the standardised columns; `oof_positive oof_negative`, sorted out-of-fold
    probabilities of the training cases per class (empty for recipe "paper"); `case_digests row_digests` (n, 6),
    bytes that recognise training cases. Those of the classifier: see `classifiers`; of ComBat: `harmonisation`. With
    ComBat the numbers of all others are of harmonised columns.
    """

    header: Header
    arrays: Mapping[str, npt.NDArray[np.generic]]
    sha256: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the radiomic features it reads."""
        clinical = set(self.header.clinical)
        return tuple(c for c in self.header.columns if c.split("=")[0] not in clinical)

    @property
    def inputs(self) -> frozenset[str]:
        """What must be available: `{sequence}.{roi}` groups, clinical facts, and a known scanner with harmonisation."""
        harmonised = self.header.harmonisation
        scanner = frozenset() if harmonised is None else frozenset((harmonised.input_name,))
        return self._groups | self.clinical | scanner

    @property
    def _groups(self) -> frozenset[str]:
        from pipeline.signature.names import group_of

        return frozenset(group_of(f) for f in self.features)

    @property
    def clinical(self) -> frozenset[str]:
        """The clinical facts that it reads: as columns, or to harmonise scanners."""
        from pipeline.signature.names import CLINICAL

        harmonised = self.header.harmonisation
        covariates = () if harmonised is None else harmonised.covariates
        return frozenset(self.header.clinical) | (frozenset(covariates) & frozenset(CLINICAL))

    @property
    def roles(self) -> frozenset[str]:
        """The regions that it reads."""
        return frozenset(name.split(".")[1] for name in self._groups if name.count(".") == 1)

    def needs(self, rank: int = 0) -> SignatureNeeds:
        """What it reads; `rank` is its place in the written order of the signatures in use.

        Raises:
            InputRejected: its columns are not ours, so no exam has them; or it is for research alone.
        """
        if self.header.level_split is not None:
            raise InputRejected(f"{self.header.title} cannot run on images: it is for research alone")
        if self.header.foreign_columns:
            raise InputRejected(f"{self.header.title} cannot run on images: its columns are not ours")
        groups = {tuple(name.split(".", 1)) for name in self._groups}
        read = frozenset(group for group in GROUPS if group in groups)
        return SignatureNeeds(self.header.title, read, self.clinical, rank, self.sha256)

    def as_trained(self, settings: Settings) -> Settings:
        """The settings with which features are extracted for it.

        Raises:
            FeatureRejected: it was trained with settings that this version does not know.
        """
        return as_trained(self.header.extraction_hash, self.header.extraction, settings, self.header.title)

    @property
    def trained_phase(self) -> str | None:
        """The phase of T1+C that it was trained on (`sequences.phase`), where that is known."""
        return phase_of(self.header.extraction_hash, self.header.extraction)

    def array(self, name: str) -> Floats:
        """An array of numbers as float64."""
        return np.asarray(self.arrays[name], dtype=np.float64)

    def describe(self) -> dict[str, Json]:
        """The facts about the signature that a result and a report carry."""
        h = self.header
        return {
            "name": h.name,
            "version": h.version,
            "sha256": self.sha256,
            "demonstration": h.demonstration,
            "positive_class": h.positive_class,
            "negative_value": h.negative_value,
            "cutoff": h.cutoff,
            "cases": h.positives + h.negatives,
            "inputs": [*sorted(self.inputs)],
            "features": len(self.features),
            "clinical": list(h.clinical),
            "extraction_hash": h.extraction_hash,
            "origins": list(h.origins),
        }

    def require_positive(self, name: str) -> None:
        """Refuse a caller that takes another class for the positive one."""
        if name not in (self.header.positive_class, self.header.positive_value):
            raise InputRejected(
                f"the positive class of {self.header.title} is {self.header.positive_class}, not {name}",
                code="other-positive-class",
            )
