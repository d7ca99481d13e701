"""Synthetic breast MR exams with ROIs: for the demo, for tests, and to train the demonstration signature."""

from pipeline.phantom.spec import PRESETS, VENDORS, Drawn, PhantomExam, PhantomSeries, PhantomSpec, Protocol
from pipeline.phantom.wrap import WrappedExam, wrap_volume
from pipeline.phantom.write import write_exam

__all__ = [
    "PRESETS",
    "VENDORS",
    "Drawn",
    "PhantomExam",
    "PhantomSeries",
    "PhantomSpec",
    "Protocol",
    "WrappedExam",
    "wrap_volume",
    "write_exam",
]
