"""Signatures in the console: cards, and putting one into use, in Chromium at both widths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.load import load
from pipeline.signature.registry import Registry
from tests.support import viewer
from tests.support.browsing import PASSWORD, RunningConsole, console_of
from tests.support.signature_family import in_registry, reading

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node")]


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


def signing_in(console: RunningConsole, role: str) -> list[dict[str, object]]:
    fields = {"user": role, "password": PASSWORD, "code": console.code(role)}
    return [{"visit": "/sign-in"}, {"fill": fields}, {"press": "Sign in"}]


@pytest.mark.parametrize(("width", "role"), [(1280, "admin"), (390, "viewer")])
def test_a_card_says_what_a_signature_is(console: RunningConsole, tmp_path: Path, width: int, role: str) -> None:
    steps = [*signing_in(console, role), {"visit": "/signatures"}, {"look": "list"}]
    steps += [{"press": "nodes-and-tumour", "exact": False}, {"look": "card"}]
    listed, shown = viewer.browse(console.base, steps, tmp_path, width=width)
    assert "asked as number 1" in listed["text"]
    assert "nodes-and-tumour" in shown["text"]
    assert ("Take it out of use" in shown["text"]) is (role == "admin")


def test_an_admin_takes_a_signature_out_of_use_and_learns_why_it_may_not_come_back(
    console: RunningConsole, tmp_path: Path
) -> None:
    assert console.settings.signature.registry is not None
    registry = Registry(console.settings.signature.registry)
    (entry,) = registry.entries()
    path = f"/signatures/{entry.signature.sha256}"
    wait = [*signing_in(console, "admin"), {"visit": path}]
    steps = [
        *wait, {"press": "Take it out of use"}, {"look": "ask"}, {"press": "Take it out of use"}, {"look": "off"},
        {"press": "Make it a shadow"}, {"press": "Make it a shadow"}, {"look": "shadow"},
        {"press": "Make it active"}, {"look": "ask-active"}, {"press": "Make it active"}, {"look": "refused"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in viewer.browse(console.base, steps, tmp_path, width=390)}
    assert "is not active" in looks["off"]["text"]
    assert "is a shadow" in looks["shadow"]["text"]
    assert "signature evaluate" in looks["refused"]["text"], looks["refused"]["text"][:600]
    (entry,) = registry.entries()
    assert (entry.active, entry.shadow) == (False, True)
    assert console.settings.audit.path is not None
    lines = console.settings.audit.path.read_text(encoding="utf-8").splitlines()
    orders = [m for m in map(json.loads, lines) if m.get("axrad", {}).get("action") == "activate"]
    assert {m["ActiveParticipant"][0]["UserID"] for m in orders} == {"admin"}
