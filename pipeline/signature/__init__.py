"""The signature: trained from a table of features, kept as one verified file, and asked for a prediction.

`load`, `save` and `predict` need no scikit-learn; `train` loads it when called.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.signature.container import load, save
from pipeline.signature.prediction import predict
from pipeline.signature.record import Header, Signature
from pipeline.signature.training import Identity, train

__all__ = ["Header", "Identity", "Signature", "demonstration_path", "load", "predict", "save", "train"]


def demonstration_path() -> Path:
    """The signature that ships with axrad, trained on synthetic exams."""
    return Path(__file__).parent / "data" / "demonstration.axsig"
