"""docs/developer.md says where things are and where to add what: true of the tree, the contracts and the tables."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from config.schema.peers import Via
from config.schema.science import Classifier
from daemon.export.transports import TRANSPORTS
from daemon.health.peers import CHECKS
from pipeline.research.training.estimators import FITS
from pipeline.signature.classifiers import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "developer.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")


def rows_of(heading: str) -> list[list[str]]:
    """Cells of the table whose first column has this heading."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def rooms_on_the_page() -> list[str]:
    names = [name for row in rows_of("room of `daemon/`") for name in CODE.findall(row[0])]
    return [name.rstrip("/").removesuffix(".py") for name in names]


def modules_of(folder: str) -> set[str]:
    """Packages and modules directly in a folder, as the contracts name them."""
    here = ROOT / folder
    packages = {path.parent.name for path in here.glob("*/__init__.py")}
    return packages | {path.stem for path in here.glob("*.py")} - {"__init__"}


def layers_of(container: str) -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (c for c in contracts if c["type"] == "layers" and c.get("containers") == [container])
    return [set(re.split(r" [|:] ", layer)) for layer in contract["layers"]]


def test_every_room_of_the_daemon_is_on_the_page_once() -> None:
    named = [
        name.rstrip("/").removesuffix(".py") for row in rows_of("room of `daemon/`") for name in CODE.findall(row[0])
    ]
    assert sorted(named) == sorted(modules_of("daemon"))


def test_the_page_lists_the_rooms_in_the_order_of_their_layers() -> None:
    depth = {room: number for number, layer in enumerate(layers_of("daemon")) for room in layer}
    named = [
        name.rstrip("/").removesuffix(".py") for row in rows_of("room of `daemon/`") for name in CODE.findall(row[0])
    ]
    assert [depth[name] for name in named] == sorted(depth[name] for name in named)


def test_what_the_page_says_to_touch_is_there() -> None:
    places = [
        place
        for row in rows_of("you want")
        for place in CODE.findall(" ".join(row[1:]))
        if re.fullmatch(r"(daemon|pipeline|dicom_sr|config|script|tests)/[\w./*-]+", place)
    ]
    assert len(places) > 15
    assert [place for place in places if not list(ROOT.glob(place.rstrip("/")))] == []


def test_a_transport_is_a_name_and_two_rows() -> None:
    """A new one that lacks a row is found here, and by `mypy`."""
    assert set(get_args(Via)) == set(TRANSPORTS) == set(CHECKS)


def test_a_classifier_is_a_name_and_two_rows() -> None:
    assert set(get_args(Classifier)) == set(KINDS) == set(FITS)


@pytest.mark.parametrize("name", sorted(get_args(Via)))
def test_no_other_code_asks_which_transport_it_is(name: str) -> None:
    """What differs between transports is in their rows, so that a new one changes nothing else."""
    asking = re.compile(rf"""via\s*[!=]=\s*["']{name}["']""")
    places = [
        str(path.relative_to(ROOT))
        for room in ("daemon", "dicom_sr", "pipeline")
        for path in sorted((ROOT / room).rglob("*.py"))
        if asking.search(path.read_text(encoding="utf-8"))
    ]
    assert places == []
