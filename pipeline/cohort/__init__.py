"""Before and after treatment: how a cohort's features changed, and how one patient's did."""

from pipeline.cohort.change import Delta, PatientChange, compare, delta
from pipeline.cohort.pairs import Pairs, read
from pipeline.cohort.report import facts, write

__all__ = ["Delta", "Pairs", "PatientChange", "compare", "delta", "facts", "read", "write"]
