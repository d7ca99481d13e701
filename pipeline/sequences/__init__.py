"""Sequence matching: from a whole exam to T1+C, T2 and ADC or DWI, with evidence."""

from pipeline.sequences.before_contrast import before_contrast
from pipeline.sequences.enhancement_phases import TimedPhases, enhancement_phases
from pipeline.sequences.match import match
from pipeline.sequences.records import T1C_LABELS, Label, Match, Region, SeriesLabel
from pipeline.sequences.volume_brightness import mean_signal, middle_of

__all__ = [
    "T1C_LABELS",
    "Label",
    "Match",
    "Region",
    "SeriesLabel",
    "TimedPhases",
    "before_contrast",
    "enhancement_phases",
    "match",
    "mean_signal",
    "middle_of",
]
