"""What an analysis is given."""

from __future__ import annotations

from dataclasses import dataclass

from config.schema import Settings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import Exam
from pipeline.result import Clinical


@dataclass(frozen=True, slots=True)
class Inputs:
    """An exam whose facts carry paths, the settings, the signatures in use and the clinical values of the patient."""

    exam: Exam
    settings: Settings
    signatures: Signatures
    clinical: Clinical
