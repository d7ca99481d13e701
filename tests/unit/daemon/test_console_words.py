"""Every sentence of the console is in every language that it offers."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from daemon.console import rendering
from daemon.console.orders import OF_EXAM
from daemon.console.rights import ROLES
from daemon.ledger.states import DELIVERY, STAGE, STUDY
from daemon.ledger.work_order import PRIORITIES
from daemon.ledger_in_words import EVENTS

SAID = re.compile(r'say\("((?:[^"\\]|\\.)+)"')
# Titles that a template keeps in a list.
TITLES = re.compile(
    r'"((?:Today|Exams|Destinations|Signatures|Workers|Log|Make it [a-z ]+|Take it [a-z ]+)'
    r'|It is [^"]+|Exams from [^"]+)"'
)


def sentences() -> set[str]:
    found: set[str] = set()
    for path in (rendering.HERE / "templates").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        found |= set(SAID.findall(text)) | set(TITLES.findall(text))
    for order in OF_EXAM.values():
        found |= {order.title, order.warning}
    found |= {state.meaning for state in STUDY.values()} | set(EVENTS.values())
    return found | {*STUDY, *DELIVERY, *STAGE, *PRIORITIES, *ROLES}


@pytest.mark.parametrize("language", [one for one in rendering.LANGUAGES if one != "en"])
def test_every_sentence_is_translated_and_none_that_there_is_not(language: str) -> None:
    words = rendering.words(language)
    assert sorted(sentences() - words.keys()) == []


@pytest.mark.parametrize("language", [one for one in rendering.LANGUAGES if one != "en"])
def test_a_translation_has_the_values_of_its_sentence(language: str) -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    assert [s for s, t in rendering.words(language).items() if values(s) != values(t)] == []


def test_a_browser_gets_the_first_language_that_there_is() -> None:
    assert rendering.preferred_language("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert rendering.preferred_language("fr, en;q=0.5, zh;q=0.1") == "en"
    assert rendering.preferred_language("") == "en"


def test_a_value_is_escaped_wherever_it_stands() -> None:
    text = rendering.environment().from_string('<a title="{{ x }}">{{ x }}</a>').render(x="<script>\"'")
    assert "<script>" not in text
    assert '"\'"' not in text
