"""The names of every feature that settings make, without an image: the columns that a table of theirs may have.

Image types, filters and their options are named as PyRadiomics names them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any  # Any: PyRadiomics' options, of many types

from config.schema import Features
from pipeline.features.parameters import Parameters, from_settings
from pipeline.records import ROLES, SEQUENCES


def columns_made(settings: Features) -> frozenset[str]:
    """Full names, `{sequence}.{roi}.{pyradiomics name}`, of all sequences and regions.

    Raises: InputRejected if `settings.params` is not a parameter file that PyRadiomics accepts.
    """
    names = names_made(from_settings(settings))
    return frozenset(f"{sequence}.{role}.{name}" for sequence in SEQUENCES for role in ROLES for name in names)


def names_made(parameters: Parameters) -> frozenset[str]:
    """PyRadiomics' names of what these parameters give for one region."""
    texture = {c: features for c, features in parameters.classes.items() if not c.startswith("shape")}
    images = (image for kind, options in parameters.image_types.items() for image in _images(kind, options, parameters))
    made = {f"{image}_{c}_{feature}" for image in images for c, features in texture.items() for feature in features}
    # Of the mask, so whatever the image types are.
    shapes = {c: features for c, features in parameters.classes.items() if c.startswith("shape")}
    return frozenset(made | {f"original_{c}_{feature}" for c, features in shapes.items() for feature in features})


def _images(kind: str, options: Mapping[str, Any], parameters: Parameters) -> Iterator[str]:
    every = {**parameters.settings, **options}
    if kind in _FILTERS:
        yield from _FILTERS[kind](every)
    else:
        yield kind.lower()  # Original, Square, SquareRoot, Logarithm, Exponential, Gradient


def _wavelet(options: Mapping[str, Any]) -> Iterator[str]:
    axes, levels = 2 if options.get("force2D") else 3, int(options.get("level", 1))
    low = "L" * axes
    for level in range(1, levels + 1):
        name = "wavelet" if level == 1 else f"wavelet{level}"
        for letters in itertools.product("LH", repeat=axes):
            # The approximation is given once, of the last level.
            if "".join(letters) != low or level == levels:
                yield f"{name}-{''.join(letters)}"


def _laplacian_of_gaussian(options: Mapping[str, Any]) -> Iterator[str]:
    for sigma in options.get("sigma") or ():
        if sigma > 0:
            yield f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"


def _local_binary_pattern_3d(options: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"lbp-3D-m{level + 1}" for level in range(int(options.get("lbp3DLevels", 2))))
    yield "lbp-3D-k"


def _local_binary_pattern_2d(_options: Mapping[str, Any]) -> Iterator[str]:
    yield "lbp-2D"


_FILTERS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = MappingProxyType({
    "Wavelet": _wavelet,
    "LoG": _laplacian_of_gaussian,
    "LBP2D": _local_binary_pattern_2d,
    "LBP3D": _local_binary_pattern_3d,
})  # fmt: skip
