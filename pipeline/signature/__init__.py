"""The signature: trained from a table of features, kept as one verified file, and asked for a prediction.

`load`, `save` and `predict` need no scikit-learn, SciPy statistics or pandas, which take a second to load; what trains
is loaded when it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.signature.container import load, save
from pipeline.signature.prediction import predict
from pipeline.signature.record import Header, Signature

if TYPE_CHECKING:
    from pipeline.signature.training import Identity, train

__all__ = ["Header", "Identity", "Signature", "demonstration_path", "load", "predict", "save", "train"]


def demonstration_path() -> Path:
    """The signature that ships with axrad, trained on synthetic exams."""
    return Path(__file__).parent / "data" / "demonstration.axsig"


def __getattr__(name: str) -> Any:
    if name not in ("Identity", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.signature import training

    return getattr(training, name)
