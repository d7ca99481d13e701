"""Names of the outside programs that the tests of a command line need: `python -m tests.support.needed tests/e2e`."""

from __future__ import annotations

import contextlib
import os
import sys

import pytest


def needed_by(item: pytest.Item) -> set[str]:
    """Names as in `peer` markers; `postgres` by its fixture, `viewer` by the module that drives it."""
    names = {str(name) for marker in item.iter_markers("peer") for name in marker.args}
    fixtures, parameters = getattr(item, "fixturenames", ()), getattr(item, "callspec", None)
    if "postgres" in fixtures or (parameters is not None and "postgresql" in parameters.params.values()):
        names.add("postgres")
    module = getattr(item, "module", None)
    homes = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(module).values()}
    if any(str(home).startswith("tests.support.viewer") for home in homes):
        names |= {"viewer", "orthanc", "npm"}
    return names


class Collected:
    """A plugin that keeps what was collected, after every selection."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self.names |= needed_by(item)


def main(arguments: list[str]) -> int:
    collected = Collected()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        code = pytest.main([*arguments, "--collect-only", "-q", "-n", "0"], plugins=[collected])
    print(" ".join(sorted(collected.names)))
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
