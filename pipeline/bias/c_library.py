"""Single-precision logarithm and exponential of the C library.

ITK calls them; numpy's own differ from them in the last bit of every twentieth value, and N4 on few voxels
is unstable enough to show it.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

_LIBRARY = ctypes.CDLL(None)


_TYPE = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)
_LOG = _TYPE(("logf", _LIBRARY))
_EXP = _TYPE(("expf", _LIBRARY))


def log(values: F32) -> F32:
    """Natural logarithm of each of few values (a microsecond each)."""
    return np.array([_LOG(v) for v in values.tolist()], dtype=np.float32)


def exp(values: F32) -> F32:
    """Exponential of each of few values."""
    return np.array([_EXP(v) for v in values.tolist()], dtype=np.float32)
