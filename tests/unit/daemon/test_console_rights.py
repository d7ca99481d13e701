"""Who may see which page and give which order: the table in docs/console.md is the one that the console asks."""

from __future__ import annotations

import re

import pytest

from daemon.console.rights import ACTIONS, PAGES, ROLES, Role, may
from tests.support import docs

TABLE = re.compile(r"^\| `([a-z-]+)` \| (yes|) ?\| (yes|) ?\| (yes|) ?\| (yes|) ?\|$", re.MULTILINE)


def cells() -> list[tuple[str, Role, bool]]:
    """What, role, and whether the page says yes."""
    text = (docs.ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    return [
        (what, role, answer == "yes")
        for what, *answers in TABLE.findall(text)
        for role, answer in zip(ROLES, answers, strict=True)
    ]


@pytest.mark.parametrize(("what", "role", "allowed"), cells())
def test_a_role_may_what_the_documentation_says(what: str, role: Role, allowed: bool) -> None:
    assert may(role, what) is allowed


def test_the_documentation_has_every_page_and_order() -> None:
    assert {what for what, _, _ in cells()} == PAGES.keys() | ACTIONS.keys()
    assert len(cells()) == len(ROLES) * (len(PAGES) + len(ACTIONS))
