"""Set-up that several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.delivering import Desk, desk


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Any]:
    """Makes ledgers with finished results and given destinations; all are closed at the end."""
    made: list[Desk] = []

    def make(*destinations: dict[str, Any], **sections: Any) -> Desk:
        made.append(desk(tmp_path / str(len(made)), *destinations, **sections))
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()
