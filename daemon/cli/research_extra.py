"""The libraries of the extra `research`, without which everything but the commands of research works."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import click

from pipeline.errors import NotInstalled

LIBRARIES: Final = ("dcurves", "lifelines", "pandas", "pyarrow", "statsmodels")


def require_research() -> None:
    """Refuse the command that runs where a library of the extra is not installed.

    Raises:
        NotInstalled: it names what is missing and what installs it.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"{click.get_current_context().command_path} needs {', '.join(missing)}: install the extra `research` "
            "(pip install 'axrad[research]', or script/setup in the source tree)."
        )
