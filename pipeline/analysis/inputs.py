"""What an analysis is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.schema import Settings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import Bring, Exam, all_here
from pipeline.records import Mask, Role, Sequence, Side, Volume
from pipeline.result import Clinical

Also = Callable[[Side | None, Mapping[Sequence, Volume], Mapping[tuple[Sequence, Role], Mask]], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """An exam whose facts carry paths, the settings, the signatures in use and the clinical values of the patient.

    `also`: handed what the features of each side are measured on. `bring`: asked for every file before it is read.
    """

    exam: Exam
    settings: Settings
    signatures: Signatures
    clinical: Clinical
    also: Also | None = None
    bring: Bring = all_here
