"""The signature: one verified file, and the prediction it makes of an exam.

This room needs no scikit-learn, SciPy statistics or pandas, which take a second to load. What trains and judges
signatures is `pipeline.research`.
"""

from __future__ import annotations

from pipeline.signature.container import demonstration_path, load, save
from pipeline.signature.prediction import predict, same_ki67_cutoff
from pipeline.signature.record import Header, Signature

__all__ = ["Header", "Signature", "demonstration_path", "load", "predict", "same_ki67_cutoff", "save"]
