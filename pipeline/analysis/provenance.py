"""What made a result: versions of the software."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("axrad", "numpy", "scipy", "simpleitk", "pyradiomics", "pywavelets", "pydicom", "highdicom", "scikit-learn")


def software() -> dict[str, str]:
    """Package versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - all are dependencies
            versions[name] = "not installed"
    return versions
