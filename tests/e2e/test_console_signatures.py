"""Signatures in the console: cards, and putting one into use, in Chromium at both widths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.load import load
from daemon.console.application import ADDRESSES
from pipeline.signature.registry import Registry
from tests.support import viewer
from tests.support.browsing import PASSWORD, RunningConsole, console_of
from tests.support.console_site import WIDTHS, unvisited
from tests.support.signature_family import in_registry, reading

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node")]
DESK, PHONE = WIDTHS


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    if not viewer.browses():
        pytest.skip("no axe-core (script/peers-viewer installs it)")
    folder = tmp_path_factory.mktemp("signatures")
    in_registry(folder / "registry", [reading("nodes-and-tumour", ("t1c.tumor", "t1c.lymph_nodes"))])
    config = folder / "axrad.toml"
    config.write_text(
        '[spool]\npath = "spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n[audit]\npath = "audit.jsonl"\n'
        '[signature]\nregistry = "registry"\n[console]\nport = 0\n',
        encoding="utf-8",
    )
    with console_of(load(config, environ={}), config) as running:
        yield running


@pytest.fixture(scope="module")
def browser(console: RunningConsole) -> Iterator[viewer.Browser]:
    """With an administrator and a viewer who are signed in."""
    with viewer.Browser() as one:
        for role in ("admin", "viewer"):
            path = "/sign-in"
            while path == "/sign-in":
                # A code's time may end before a slow browser has sent it; the next one is another.
                fields = {"user": role, "password": PASSWORD, "code": console.code(role)}
                steps = [{"visit": "/sign-in"}, {"fill": fields}, {"press": "Sign in"}, {"look": "after"}]
                path = one.browse(console.base, steps, who=role, axe=False)[0]["path"]
        yield one


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_a_card_says_what_a_signature_is(
    console: RunningConsole, browser: viewer.Browser, width: int, role: str
) -> None:
    steps: list[dict[str, Any]] = [
        {"visit": "/signatures"},
        {"look": "list"},
        {"press": "nodes-and-tumour", "exact": False},
        {"look": "card"},
    ]
    listed, shown = browser.browse(console.base, steps, width=width, who=role)
    assert "asked as number 1" in listed["text"]
    assert "nodes-and-tumour" in shown["text"]
    assert ("Take it out of use" in shown["text"]) is (role == "admin")


def test_an_admin_takes_a_signature_out_of_use_and_learns_why_it_may_not_come_back(
    console: RunningConsole, browser: viewer.Browser
) -> None:
    assert console.settings.signature.registry is not None
    registry = Registry(console.settings.signature.registry)
    (entry,) = registry.entries()
    path = f"/signatures/{entry.signature.sha256}"
    steps = [
        {"visit": path}, {"press": "Take it out of use"}, {"look": "ask"}, {"press": "Take it out of use"},
        {"look": "off"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in browser.browse(console.base, steps, width=PHONE, who="admin")}
    assert "is not active" in looks["off"]["text"]
    steps = [
        {"visit": path}, {"press": "Make it a shadow"}, {"press": "Make it a shadow"}, {"look": "shadow"},
        {"press": "Make it active"}, {"look": "ask-active"}, {"press": "Make it active"}, {"look": "refused"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in browser.browse(console.base, steps, width=DESK, who="admin")}
    assert "is a shadow" in looks["shadow"]["text"]
    assert "signature evaluate" in looks["refused"]["text"], looks["refused"]["text"][:600]
    (entry,) = registry.entries()
    assert (entry.active, entry.shadow) == (False, True)
    assert console.settings.audit.path is not None
    lines = console.settings.audit.path.read_text(encoding="utf-8").splitlines()
    orders = [m for m in map(json.loads, lines) if m.get("axrad", {}).get("action") == "activate"]
    assert {m["ActiveParticipant"][0]["UserID"] for m in orders} == {"admin"}


def test_every_page_and_order_of_signatures_was_visited_at_both_widths(browser: viewer.Browser) -> None:
    """By the tests above."""
    assert unvisited([one for one in ADDRESSES if one.path.startswith("/signatures")], browser.visited) == []
