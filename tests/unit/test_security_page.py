"""docs/security.md names a test for each threat, and every test of tests/security/ answers one."""

from __future__ import annotations

import ast
import re

from config.schema import Settings
from tests.support import docs

PAGE = docs.ROOT / "docs" / "security.md"
FOLDER = docs.ROOT / "tests" / "security"


def rows() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("| threat | answer | test |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def named() -> set[str]:
    return set(re.findall(r"`(tests/[^`]+)`", " ".join(row[-1] for row in rows())))


def test_each_threat_has_an_answer_and_a_test() -> None:
    assert rows()
    for row in rows():
        assert len(row) == 3, row
        assert all(row), row
        assert re.search(r"`tests/[\w/]+\.py(::\w+)?`", row[2]), row[0]


def test_every_test_that_the_page_names_exists() -> None:
    for name in named():
        path, _, function = name.partition("::")
        assert (docs.ROOT / path).is_file(), name
        tree = ast.parse((docs.ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not function or function in functions, name


def test_every_test_against_attacks_stands_in_the_table() -> None:
    files = {f"tests/security/{path.name}" for path in FOLDER.glob("test_*.py")}
    assert files
    assert files - {name.partition("::")[0] for name in named()} == set()


def test_the_page_has_assets_trust_a_firewall_table_and_the_answers_of_an_mds2_form() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for table in (
        "| asset | where |",
        "| who | is trusted |",
        "| port | direction | who | why |",
        "| question | answer |",
    ):
        assert table in text


def test_the_firewall_table_has_every_port_that_the_defaults_listen_at() -> None:
    settings = Settings()
    text = PAGE.read_text(encoding="utf-8").split("| port | direction |", 1)[1].split("\n\n", 1)[0]
    for port in (settings.listen.port, settings.metrics.port, settings.flower.port):
        assert f"| {port}/tcp | in" in text
    assert f"retention.keep_days` ({settings.retention.keep_days:g})" in PAGE.read_text(encoding="utf-8")
