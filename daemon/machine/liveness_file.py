"""A file that the main loop touches, for whatever restarts processes that hang (Kubernetes' exec probes).

It shows that the loop runs. It does not depend on ledger or broker: a restart does not mend those.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

VARIABLE = "AXRAD_ALIVE_FILE"


def touch() -> None:
    """Touch the file that the environment names; without one, nothing."""
    name = os.environ.get(VARIABLE)
    if name:
        with suppress(OSError):
            Path(name).touch()
