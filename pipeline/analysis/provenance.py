"""What made a result: versions of the software and a hash of the settings that change numbers."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version

from config.schema import Settings

PACKAGES = ("axrad", "numpy", "scipy", "simpleitk", "pyradiomics", "pywavelets", "pydicom", "highdicom", "scikit-learn")
# Settings that change a number in the result. The engines and `features.set` do not: both sides of each agree.
SCIENCE = {
    "sequences": {"phase"},
    "roi": {"fractional_threshold", "tumors"},
    "align": {"registration"},
    "bias": {"sequences", "shrink", "iterations", "threshold", "mesh", "fwhm", "wiener_noise", "histogram_bins"},
    "features": {"bin_width", "params"},
}


def software() -> dict[str, str]:
    """Package versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - all are dependencies
            versions[name] = "not installed"
    return versions


def settings_hash(settings: Settings) -> str:
    """SHA-256 over the settings that change numbers, as canonical JSON; of a parameter file, its content counts."""
    chosen = settings.model_dump(mode="json", include=SCIENCE)
    if settings.features.params is not None:
        chosen["features"]["params"] = hashlib.sha256(settings.features.params.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
