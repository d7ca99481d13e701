"""The documentation is true: links, pictures, commands, settings, tables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from PIL import Image
from pydicom._uid_dict import UID_dictionary

from daemon.listener import contexts, statuses
from daemon.main import cli
from tests.support import docs

PAGES = docs.pages()
MAX_IMAGE_BYTES = 250_000
# Pages whose commands take long; tests/e2e/test_docs_researcher.py runs them.
SLOW = {"docs/researcher.md"}

each_page = pytest.mark.parametrize("page", PAGES, ids=docs.name_of)


# Links and pictures


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in docs.links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.exists(), f"{docs.name_of(page)}: {target} leads nowhere"
        assert docs.ROOT in [there, *there.parents], f"{docs.name_of(page)}: {target} leads out of the project"
        if anchor and there.suffix == ".md":
            assert anchor in docs.anchors(there), f"{docs.name_of(page)}: no heading #{anchor} in {docs.name_of(there)}"


@each_page
def test_pictures_are_pictures_and_small(page: Path) -> None:
    for target, shown in docs.links(page):
        if not shown and Path(target).suffix not in (".png", ".jpg"):
            continue
        file = (page.parent / target).resolve()
        assert file.stat().st_size < MAX_IMAGE_BYTES, f"{target}: {file.stat().st_size} bytes"
        with Image.open(file) as image:
            image.verify()


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target, _ in docs.links(page)}
    here = {path.resolve() for path in (docs.ROOT / "docs" / "img").iterdir()}
    assert here - shown == set()


def test_every_page_is_reached_from_the_index() -> None:
    index = docs.ROOT / "docs" / "index.md"
    seen, todo = {index}, [index]
    while todo:
        page = todo.pop()
        for target, _ in docs.links(page):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.is_file() and there not in seen:
                seen.add(there)
                todo.append(there)
    missing = [docs.name_of(page) for page in PAGES if page.parent.name == "docs" and page not in seen]
    assert missing == [], "say in docs/index.md for whom these pages are"


@each_page
def test_no_page_names_a_machine_or_a_registry(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"(?<![\w.])/(?:work|tmp|root)/\S*|pypi\.org|pythonhosted|npmjs|deb\.debian|ghcr\.io", text)
    assert found == []


# Commands


def problem_with(words: list[str]) -> str | None:
    """Why click would not take these words, as far as commands and options go."""
    command: click.Command = cli
    context = click.Context(cli)
    words = list(words)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]}"
        command = found
        words.pop(0)
    options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if isinstance(p, click.Option)}
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not name.startswith("-") or name in ("-h", "--help", "--version"):
            continue
        if name not in options:
            return f"{command.name} has no option {name}"
        kind = options[name].type
        given = value if equals else (words[position + 1] if position + 1 < len(words) else "")
        if isinstance(kind, click.Choice) and not given.isupper() and not set(given.split("|")) <= set(kind.choices):
            return f"{command.name} {name} may not be {given}"
    return None


@each_page
def test_every_axrad_command_on_a_page_exists(page: Path) -> None:
    for line in docs.command_lines(page):
        problem = problem_with(docs.words_of(line))
        assert problem is None, f"{docs.name_of(page)}: `{line}`: {problem}"


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert problem_with(["match", "exam/"]) is None
    assert problem_with(["signature", "train", "t.csv", "--classifier", "svm"]) is None
    assert problem_with(["mtach"]) == "no command mtach"
    assert problem_with(["signature", "tarin"]) == "no command tarin"
    assert problem_with(["work", "--roll", "all"]) == "work has no option --roll"
    assert problem_with(["work", "--role", "none"]) == "work --role may not be none"
    assert problem_with(["work", "--role", "all|sweep"]) is None
    assert problem_with(["work", "--role", "all|none"]) == "work --role may not be all|none"


def test_the_commands_of_a_page_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Do `axrad up`.\n\n    $ .venv/bin/axrad status --json | less\n\n"
        "```console\n$ AXRAD_X=1 axrad run PATH \\\n    --out DIR   # here\naxrad listens as AXRAD\n```\n"
    )
    words = [docs.words_of(line) for line in docs.command_lines(page)]
    assert words == [["run", "PATH", "--out", "DIR"], ["listens", "as", "AXRAD"], ["status", "--json"], ["up"]]


@pytest.mark.parametrize("page", [p for p in PAGES if docs.steps(p) and docs.name_of(p) not in SLOW], ids=docs.name_of)
def test_commands_that_are_shown_with_their_output_do_that(page: Path, tmp_path: Path) -> None:
    for step in docs.steps(page):
        problem = docs.told_otherwise(step, docs.run(step, tmp_path))
        assert not problem, f"{docs.name_of(page)}:{step.line}: `{step.command}` {problem}"


def test_a_shown_output_that_is_not_true_would_be_noticed(tmp_path: Path) -> None:
    true = docs.Step(1, "printf 'one 1\\ntwo 2.5\\nthree\\n'", ("one 7", "…", "th…"))
    assert docs.told_otherwise(true, docs.run(true, tmp_path)) == ""
    for shown in (("four",), ("three", "one 1"), ("axrad: no",)):
        false = docs.Step(1, true.command, shown)
        assert docs.told_otherwise(false, docs.run(false, tmp_path))


# Generated parts


def test_the_list_of_settings_is_the_one_in_the_code() -> None:
    done = subprocess.run(
        [sys.executable, docs.ROOT / "script" / "describe-settings", "--check"],
        cwd=docs.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, "docs/configuration.md is out of date; run .venv/bin/python script/describe-settings"


def test_every_setting_in_the_code_has_its_meaning() -> None:
    done = subprocess.run(
        [sys.executable, docs.ROOT / "script" / "describe-settings", "--unexplained"],
        cwd=docs.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [], (
        "say what these settings mean: in the docstring of their section, with the key in backticks, or in "
        "script/describe-settings.toml"
    )


def test_the_settings_in_examples_exist() -> None:
    import tomllib

    from config.schema import Settings

    checked = 0
    for page in PAGES:
        for block in docs.blocks(page):
            if block.info == "toml":
                example = tomllib.loads(block.text)
                # Rule tables of a site are TOML as well, and have no section of the settings.
                if set(example) & set(Settings.model_fields):
                    if {"share_port", "remote"} & set(example.get("spool", ())):
                        example["spool"]["share_token"] = "comes-from-the-environment"
                    Settings.model_validate(example)
                    checked += 1
    assert checked > 3


def test_the_script_of_compose_is_the_one_that_is_explained() -> None:
    (shown,) = [block.text for block in docs.blocks(docs.ROOT / "docs" / "operator.md") if block.info == "lua"]
    mounted = (docs.ROOT / "docker" / "orthanc" / "axrad.lua").read_text(encoding="utf-8")
    assert mounted.partition("\n")[2] == shown


# The conformance statement


def table_after(page: Path, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    text = page.read_text(encoding="utf-8")
    below = text.partition(f"{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
    assert rows is not None, f"no table below {heading}"
    return [[c.strip() for c in line.strip("|").split("|")] for line in rows[0].splitlines()[2:]]


CONFORMANCE = docs.ROOT / "docs" / "conformance.md"


REGENERATE = "run .venv/bin/python script/describe-contexts"


def test_the_conformance_statement_lists_the_storage_classes_that_are_accepted() -> None:
    listed = [row[1] for row in table_after(CONFORMANCE, "#### Storage SOP classes")]
    assert listed == sorted(contexts.storage_classes(), key=in_order), REGENERATE


def test_the_conformance_statement_lists_the_transfer_syntaxes_that_are_accepted() -> None:
    listed = table_after(CONFORMANCE, "#### Transfer syntaxes")
    assert [row[:2] for row in listed] == [[UID_dictionary[u][0], u] for u in contexts.transfer_syntaxes()], REGENERATE


def test_the_conformance_statement_lists_what_is_fetched() -> None:
    from daemon.fetch import dimse

    listed = [row[1] for row in table_after(CONFORMANCE, "#### Storage SOP classes of C-GET")]
    assert listed == [str(uid) for uid in dimse.CLASSES]
    listed = [row[1] for row in table_after(CONFORMANCE, "#### Transfer syntaxes of C-GET")]
    assert listed == [str(uid) for uid in dimse.STORED_AS]


def test_the_conformance_statement_lists_what_is_sent() -> None:
    from dicom_sr import sop_classes

    listed = [row[1] for row in table_after(CONFORMANCE, "#### SOP classes that are sent")]
    assert listed == [
        sop_classes.COMPREHENSIVE,
        sop_classes.COMPREHENSIVE_3D,
        sop_classes.ENHANCED,
        sop_classes.BASIC_TEXT,
        sop_classes.SECONDARY_CAPTURE,
        sop_classes.ENCAPSULATED_PDF,
        sop_classes.KEY_OBJECT_SELECTION,
        sop_classes.SEGMENTATION,
    ]


def test_the_conformance_statement_lists_the_statuses_that_are_answered() -> None:
    listed = {row[0]: row[1].strip("`") for row in table_after(CONFORMANCE, "#### Statuses")}
    assert listed == {"0000": "success"} | {f"{r.status:04X}": r.reason for r in statuses.ALL}


def test_the_statuses_of_the_intake_page_are_the_same() -> None:
    rows = table_after(docs.ROOT / "docs" / "intake.md", "## Answers to C-STORE")
    assert {row[0]: row[1].strip("`") for row in rows} == {"0000": ""} | {
        f"{r.status:04X}": r.reason for r in statuses.ALL
    }


def test_the_conformance_statement_names_this_implementation() -> None:
    from daemon.spool.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

    text = CONFORMANCE.read_text(encoding="utf-8")
    assert IMPLEMENTATION_CLASS_UID in text
    assert IMPLEMENTATION_VERSION_NAME in text


def in_order(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]
