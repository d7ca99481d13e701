"""What every test may ask for: real data, outside programs, a clean environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Name used in markers → program that must be on the path
PEERS = {
    "storescu": "storescu",
    "storescp": "storescp",
    "dciodvfy": "dciodvfy",
    "dcentvfy": "dcentvfy",
    "dsrdump": "dsrdump",
    "redis-server": "redis-server",
    "orthanc": "Orthanc",
    "chromium": "chromium",
    "java": "java",
    "postgres": "pg_ctlcluster",
    "pdftoppm": "pdftoppm",
    "node": "node",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose peer is missing is skipped, visibly; under CI that is a failure."""
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            program = PEERS.get(name, name)
            if shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin"):
                continue
            reason = f"{program} is not installed (script/test installs it when it runs as root or with sudo)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("AXRAD_CASES", ROOT.parent / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set AXRAD_CASES")
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings in the environment of whoever runs the tests do not leak into them."""
    for name in list(os.environ):
        if name.startswith("AXRAD_") and name != "AXRAD_CASES":
            monkeypatch.delenv(name)
    yield
