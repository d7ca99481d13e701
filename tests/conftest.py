"""What every test may ask for: real data, outside programs, a clean environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from daemon.ledger import Ledger

# No test depends on wall time; on a build machine the examples are the same at every run.
hypothesis.settings.register_profile("axrad", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("axrad"), max_examples=1000)
# For a second run of the same tests, on another Python.
hypothesis.settings.register_profile("few", hypothesis.settings.get_profile("axrad"), max_examples=10)
hypothesis.settings.load_profile("axrad")

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
    "javac": "javac",
    "postgres": "pg_ctlcluster",
    "npm": "npm",
    "pdftoppm": "pdftoppm",
    "node": "node",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="the nearest tests that fit into a minute (script/test --fast)"
    )


def pytest_configure(config: pytest.Config) -> None:
    from tests.support.fast import Fast, Times
    from tests.support.limits import Limits

    config.pluginmanager.register(Limits(config))
    config.pluginmanager.register(Times(config))
    if config.getoption("fast"):
        config.pluginmanager.register(Fast(config))


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


@pytest.fixture(scope="session", autouse=True)
def _no_ledger_is_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The ledger lies beside the spool: a test whose spool is its temporary folder itself would share it."""
    yield
    shared = tmp_path_factory.getbasetemp() / "ledger.sqlite"
    assert not shared.exists(), "a test has its spool at tmp_path instead of tmp_path / 'spool'"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment of whoever runs the tests do not leak into them, nor how wide the terminal is."""
    monkeypatch.setenv("COLUMNS", "100")
    for name in list(os.environ):
        if name.startswith("AXRAD_") and name != "AXRAD_CASES":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL; each test makes its own database in it."""
    from tests.support.postgres import binaries, running_postgres

    if binaries() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed", pytrace=False)
        pytest.skip("PostgreSQL is not installed (script/test installs it when it runs as root or with sudo)")
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger, on both databases in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    import sqlalchemy as sa

    server = request.getfixturevalue("postgres")
    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture
def ledger(ledger_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger, on both databases in turn."""
    from config.schema import Ledger as LedgerSection
    from config.schema import Settings, Spool
    from daemon.ledger import open_ledger

    opened = open_ledger(Settings(ledger=LedgerSection(url=ledger_url), spool=Spool(path=tmp_path / "spool")))
    yield opened
    opened.close()


@contextmanager
def _logs_as_before() -> Iterator[None]:
    import logging

    import structlog

    root = logging.getLogger()
    configured, known = structlog.is_configured(), structlog.get_config()
    handlers, level, axrad = list(root.handlers), root.level, logging.getLogger("axrad").level
    yield
    # pytest lays its own handlers into the root while a test runs, and takes them out itself.
    root.handlers = handlers + [handler for handler in root.handlers if handler.__module__.startswith("_pytest")]
    root.handlers = list(dict.fromkeys(root.handlers))
    root.setLevel(level)
    logging.getLogger("axrad").setLevel(axrad)
    structlog.contextvars.clear_contextvars()
    if configured:
        structlog.configure(**known)
    else:
        structlog.reset_defaults()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A test that configures logging, as a command in this process does, leaves it to the next as it was."""
    with _logs_as_before():
        yield


@pytest.fixture(autouse=True, scope="module")
def logs_as_before_the_file() -> Iterator[None]:
    """So does a file whose own fixtures run a command: they come before what a single test can take back."""
    with _logs_as_before():
        yield
