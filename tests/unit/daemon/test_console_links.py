"""Where a sentence names a command, the console leads to the order or page that does the same."""

from __future__ import annotations

from functools import partial

import pytest

from daemon.console.application import ADDRESSES
from daemon.console.command_links import PAGES, Piece, of_finding, pieces
from daemon.console.orders import OF_EXAM
from daemon.console.rights import PAGES as RIGHTS
from daemon.console.rights import ROLES, Role, may
from daemon.finding import Finding
from daemon.ledger_in_words import BY_CODE, REMEDIES

STUDY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("command", "order"),
    [
        ("retry {id}", "retry"), ("retry {id} --new-revision", "redo"), ("cancel {id}", "cancel"),
        ("retry {id} --accept-identity", "accept-identity"), ("deliver {id}", "deliver"),
    ],
)  # fmt: skip
def test_a_command_stands_beside_the_order_that_is_it(command: str, order: str) -> None:
    text = "axrad " + command.format(id=STUDY)
    for sentence in (f"if so: {text}", f"if so: `{text}`"):
        assert pieces(sentence, partial(may, "operator"))[:2] == [
            Piece("if so: "), Piece(text, True, f"/exams/{STUDY}/{order}", OF_EXAM[order].title)
        ]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_nobody_is_led_to_what_the_role_does_not_allow(role: Role) -> None:
    sentence = f"`axrad cancel {STUDY}`, or `axrad accept {STUDY}`; `axrad up` starts it"
    linked = {piece.text.split()[1] for piece in pieces(sentence, partial(may, role)) if piece.path}
    assert linked == {order for order in ("cancel", "accept") if may(role, order)}
    assert "".join(piece.text for piece in pieces(sentence, partial(may, role))) == sentence.replace("`", "")


def test_every_remedy_of_an_exam_leads_to_its_order() -> None:
    lines = [
        line for remedy in (*REMEDIES.values(), *BY_CODE.values()) for line in remedy.format(id=STUDY).splitlines()
    ]
    for line in lines:
        commands = [piece for piece in pieces(line, partial(may, "operator")) if piece.command]
        assert len(commands) == line.count("axrad ")
        assert all(piece.path for piece in commands)


def test_what_others_wrote_into_a_check_leads_nowhere() -> None:
    text = f"pacs has failed (see `axrad cancel {STUDY}` <script>)"
    finding = Finding("destination", "fail", text, f"when it is mended: `axrad deliver {STUDY}`", subject="pacs")
    made = of_finding(finding, partial(may, "operator"))
    assert made[0] == Piece(text + ". ")
    assert [piece.path for piece in made if piece.path] == [f"/exams/{STUDY}/deliver", "/destinations"]


def test_pages_that_checks_lead_to_are_pages_of_the_console() -> None:
    addresses = {one.path for one in ADDRESSES}
    for row, path, _ in PAGES.values():
        assert row in RIGHTS
        assert path.partition("?")[0] in addresses
