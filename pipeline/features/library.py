"""PyRadiomics, imported in one place, kept quiet, with what it can compute.

It writes to stderr through a handler of its own and lets numpy warn where a feature is not defined (0/0 in a flat
region). Both are answered here: a feature without a value is reported as missing with its reason, so neither line
would tell anyone anything. Its eigenvalues are real on every NumPy.
"""

from __future__ import annotations

import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any  # Any: what PyRadiomics, which has no types, hands to NumPy

import numpy as np
import numpy.typing as npt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks pkg_resources for versions
    import radiomics
    import radiomics.glcm
    import radiomics.shape
    import radiomics.shape2D
    from radiomics import cMatrices, featureextractor, imageoperations

__all__ = [
    "FOREIGN_ERRORS",
    "VERSION",
    "angles",
    "eigenvalues",
    "feature_classes",
    "feature_names",
    "featureextractor",
    "imageoperations",
    "quiet",
]

VERSION: str = radiomics.__version__

# What PyRadiomics, numpy and SimpleITK raise on input that they cannot work with.
FOREIGN_ERRORS = (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, MemoryError, np.linalg.LinAlgError)

radiomics.setVerbosity(60)
radiomics.logger.setLevel(60)


def eigenvalues(matrices: Any) -> Any:
    """Eigenvalues of (..., n, n) as NumPy before 2.5 gives them: real unless one has an imaginary part.

    NumPy 2.5 gives complex numbers for every matrix, and PyRadiomics then gives complex features.
    """
    values = np.linalg.eigvals(matrices)
    return values if np.any(values.imag) else values.real


def angles(shape_zyx: tuple[int, ...]) -> npt.NDArray[np.intc]:
    """(angles, 3): PyRadiomics' directions to neighbours at distance 1 in a box, z, y, x, one of each opposite pair."""
    directions: npt.NDArray[np.intc] = cMatrices.generate_angles(np.array(shape_zyx), np.array([1]), False, False, 0)
    return directions


def _real_eigenvalues(matrices: Any) -> Any:
    """Of covariances, which are symmetric: an imaginary part is rounding."""
    return np.linalg.eigvals(matrices).real


def _numpy_with(eigvals: Callable[[Any], Any]) -> types.ModuleType:
    """NumPy as one of PyRadiomics' modules sees it, with another `linalg.eigvals`."""
    numpy, linalg = types.ModuleType("numpy"), types.ModuleType("numpy.linalg")
    numpy.__dict__.update(np.__dict__)
    linalg.__dict__.update(np.linalg.__dict__)
    linalg.eigvals = eigvals  # type: ignore[attr-defined]
    numpy.linalg = linalg  # type: ignore[attr-defined]
    return numpy


radiomics.glcm.numpy = _numpy_with(eigenvalues)
radiomics.shape.numpy = radiomics.shape2D.numpy = _numpy_with(_real_eigenvalues)

_gate = threading.Lock()
_inside = 0
_saved: Any = None


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from numpy or PyRadiomics, in any number of threads at once.

    `warnings.catch_warnings` swaps a list of the whole process, so the first thread in sets it and the last one out
    restores it.
    """
    global _inside, _saved
    with _gate:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            for category in (RuntimeWarning, DeprecationWarning, FutureWarning, np.exceptions.ComplexWarning):
                warnings.simplefilter("ignore", category)
        _inside += 1
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        with _gate:
            _inside -= 1
            if _inside == 0:
                _saved.__exit__(None, None, None)
                _saved = None


@cache
def feature_classes() -> dict[str, type[Any]]:
    """Class name (`glcm`) to PyRadiomics' class."""
    return dict(radiomics.getFeatureClasses())


@cache
def feature_names(class_name: str) -> tuple[str, ...]:
    """The features of a class that are not deprecated, as PyRadiomics spells them."""
    known = feature_classes()[class_name].getFeatureNames()
    return tuple(name for name, deprecated in known.items() if not deprecated)
