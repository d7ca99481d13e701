"""Whether axrad is installed as it should be: PyRadiomics as pinned, its own environment, a spool outside /etc."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from config.schema import Settings
from daemon.finding import Finding

# What axrad's numbers are promised for; pyproject.toml pins the same.
PYRADIOMICS = "3.0.1"
WHEELS = "pip install --find-links wheels axrad, with wheels from script/wheelhouse"
# Import names that axrad brings, and that other packages may have as well.
NAMES = ("config", "daemon", "dicom_sr", "pipeline")
SETTINGS_FOLDER = Path("/etc")


def examine(settings: Settings) -> Iterator[Finding]:
    yield pyradiomics()
    yield environment(metadata.packages_distributions(), is_own=is_own(Path(sys.prefix), Path(sys.base_prefix)))
    yield spool(settings.spool.path)


def pyradiomics() -> Finding:
    """PyRadiomics has no wheel of its makers' for these Pythons, and pip alone cannot build it."""
    try:
        distribution = metadata.distribution("pyradiomics")
    except metadata.PackageNotFoundError:
        return Finding("pyradiomics", "fail", "PyRadiomics is not installed", WHEELS)
    if distribution.version != PYRADIOMICS:
        text = f"PyRadiomics is {distribution.version}; features are defined by {PYRADIOMICS}"
        return Finding("pyradiomics", "fail", text, WHEELS)
    # Before Python 3.12 files are listed that are no longer there.
    files = {file.name for file in distribution.files or () if Path(str(file.locate())).exists()}
    if not any(f"_cmatrices{suffix}" in files for suffix in EXTENSION_SUFFIXES):
        text = "PyRadiomics' compiled part is missing, or was built for another Python"
        return Finding("pyradiomics", "fail", text, WHEELS)
    return Finding("pyradiomics", "ok", f"PyRadiomics {PYRADIOMICS}, built for this Python")


def environment(providers: Mapping[str, Collection[str]], *, is_own: bool) -> Finding:
    """`providers`: the packages that bring each import name."""
    shared = {name: sorted({*providers.get(name, ())} - {"axrad"}) for name in NAMES}
    others = [f"{package} ({name})" for name, packages in shared.items() for package in packages]
    remedy = "install axrad in a virtual environment of its own"
    if others:
        text = f"other packages here have import names of axrad's: {', '.join(others)}"
        return Finding("environment", "fail", text, remedy)
    if not is_own:
        return Finding("environment", "warn", "axrad shares the Python of the system with other programs", remedy)
    return Finding("environment", "ok", "axrad has an environment of its own")


def is_own(prefix: Path, base_prefix: Path) -> bool:
    """Whether this Python is a virtual environment, or one of conda's."""
    return prefix != base_prefix or (prefix / "conda-meta").is_dir()


def spool(path: Path) -> Finding:
    resolved = path.resolve()
    if SETTINGS_FOLDER in resolved.parents:
        text = f"the spool lies at {resolved}, among the system's settings, where a service may not write"
        return Finding("spool", "warn", text, "stop axrad, move it to /var/lib/axrad/spool, and set spool.path")
    return Finding("spool", "ok", f"{resolved}")
