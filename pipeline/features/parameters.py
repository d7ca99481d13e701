"""What to extract and how: PyRadiomics' own parameters, from the settings or from a parameter file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any  # Any: PyRadiomics' settings, of many types, and its extractor, which has none

from config.schema import Features
from pipeline.errors import InputRejected
from pipeline.features.library import feature_names, featureextractor, quiet
from pipeline.features.standardisation import Standard
from pipeline.records import Sequence

WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")
IMAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"Original": ("original",), "Wavelet": tuple(f"wavelet-{band}" for band in WAVELET_BANDS)}
)

# Settings that mean the same on a crop as on the whole image, or for which `preparation` makes the crop that the whole
# would give. With any other one set, PyRadiomics works on the whole.
_LOCAL_SETTINGS = frozenset({
    "additionalInfo", "binCount", "binWidth", "distances", "force2Ddimension", "gldm_a", "interpolator", "label",
    "label_channel", "minimumROIDimensions", "minimumROISize", "normalize", "normalizeScale", "padDistance",
    "removeOutliers", "resampledPixelSpacing", "symmetricalGLCM", "voxelArrayShift", "weightingNorm",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameters:
    """Image types with their options, feature classes with the features asked of each, and settings.

    `classes` lists features by name; all of them are spelled out. `standard`: how intensities are standardised where
    PyRadiomics has no such way. `ibsi_grid`: what is resampled lies on IBSI's grid, not on PyRadiomics'.
    """

    image_types: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any]
    standard: Standard | None = None
    ibsi_grid: bool = False

    @property
    def local(self) -> bool:
        """Whether every feature depends only on the ROI and the three voxels around it."""
        return (
            all(name in IMAGES and not options for name, options in self.image_types.items())
            and "shape2D" not in self.classes
            and all(key in _LOCAL_SETTINGS or value in (None, False) for key, value in self.settings.items())
        )

    def names(self) -> Iterator[tuple[str, str, str]]:
        """(image, class, feature) for each feature of the image types whose images are known beforehand."""
        for image_type in self.image_types:
            for image in IMAGES.get(image_type, ()):
                for class_name, features in self.classes.items():
                    if not class_name.startswith("shape"):
                        yield from ((image, class_name, feature) for feature in features)
        yield from (("original", "shape", feature) for feature in self.classes.get("shape", ()))

    def extractor(self) -> Any:
        """PyRadiomics' extractor with these parameters."""
        extractor = featureextractor.RadiomicsFeatureExtractor(**self.settings)
        extractor.enabledImagetypes = {name: dict(options) for name, options in self.image_types.items()}
        extractor.enabledFeatures = {name: list(features) for name, features in self.classes.items()}
        return extractor

    def with_label(self, label: int) -> Parameters:
        return replace(self, settings={**self.settings, "label": label})


def for_sequence(settings: Features, sequence: Sequence) -> Parameters:
    """The parameters of one sequence: those of all, with what `[features.SEQUENCE]` says. Raises as `from_settings`."""
    parameters, rule = from_settings(settings), getattr(settings, sequence)
    own = dict(parameters.settings)
    if rule.bins is not None:
        own |= {"binCount": rule.bins}
        own.pop("binWidth", None)
    elif rule.bin_width is not None:
        own |= {"binWidth": rule.bin_width}
        own.pop("binCount", None)
    if rule.voxel_mm is not None:
        own |= {"resampledPixelSpacing": [rule.voxel_mm] * 3, "interpolator": own.get("interpolator") or "sitkBSpline"}
    standard = parameters.standard
    if rule.standardise == "image":
        own |= {"normalize": True, "normalizeScale": rule.scale, "removeOutliers": rule.clip}
    elif rule.standardise != "none":
        standard = Standard(rule.standardise, rule.scale, rule.clip)
    return replace(parameters, settings=own, standard=standard, ibsi_grid=rule.grid == "ibsi")


def from_settings(settings: Features) -> Parameters:
    """The parameters that `settings` names: its file, or the table that ships, with `bin_width` where none is given.

    Raises: InputRejected if the file is unreadable or PyRadiomics does not accept it.
    """
    if settings.params is not None:
        return read(settings.params, settings.bin_width)
    return _shipped(settings.bin_width)


@cache
def _shipped(bin_width: float) -> Parameters:
    table = resources.files("config").joinpath("extraction.toml").read_text(encoding="utf-8")
    return _checked(tomllib.loads(table), bin_width, "extraction.toml")


def read(path: Path, bin_width: float = 25.0) -> Parameters:
    """A PyRadiomics parameter file (YAML or JSON), or the same as TOML.

    Raises: InputRejected if it is unreadable or PyRadiomics does not accept it.
    """
    if not path.is_file():
        raise InputRejected(f"There is no parameter file {path.name}.", code="bad-parameters")
    if path.suffix.lower() != ".toml":
        return _checked(path, bin_width, path.name)
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8")), bin_width, path.name)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRejected(
            f"The parameter file {path.name} cannot be read: {error}.", code="bad-parameters"
        ) from error


def _checked(source: Path | dict[str, Any], bin_width: float, name: str) -> Parameters:
    from pykwalify.errors import PyKwalifyException  # type: ignore[import-untyped]
    from ruamel.yaml.error import YAMLError

    try:
        with quiet():
            extractor = featureextractor.RadiomicsFeatureExtractor(str(source) if isinstance(source, Path) else source)
    except (PyKwalifyException, YAMLError, OSError, ValueError, AttributeError, TypeError, AssertionError) as error:
        reason = " ".join(str(getattr(error, "msg", None) or error).split())
        raise InputRejected(
            f"PyRadiomics does not accept the parameter file {name}: {reason}", code="bad-parameters"
        ) from error
    classes = {c: tuple(f or feature_names(c)) for c, f in extractor.enabledFeatures.items()}
    if not extractor.settings.get("force2D"):
        classes.pop("shape2D", None)  # without force2D PyRadiomics passes it over
    if not any(classes.values()):
        raise InputRejected(f"The parameter file {name} asks for no feature.", code="bad-parameters")
    width: float = int(bin_width) if float(bin_width).is_integer() else bin_width
    # through JSON: ruamel's containers are not plain
    settings_read = json.loads(json.dumps(extractor.settings))
    if settings_read.get("binCount") is None:
        settings_read.setdefault("binWidth", width)
    images = {k: dict(v or {}) for k, v in json.loads(json.dumps(extractor.enabledImagetypes)).items()}
    return Parameters(images, classes, settings_read)
