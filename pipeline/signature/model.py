"""A fitted classifier: constants and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config.schema import Classifier
from pipeline.signature.record import Floats


@dataclass(frozen=True)
class Model:
    """A fitted classifier on standardised columns."""

    kind: Classifier
    constants: Mapping[str, float]
    arrays: Mapping[str, npt.NDArray[np.generic]]

    def array(self, name: str) -> Floats:
        """An array of numbers as float64."""
        return np.asarray(self.arrays[name], dtype=np.float64)
