"""Pages from templates: every value is escaped, every sentence is in the language of the user."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from daemon.ledger_in_words import age, brief, bytes_in_words

HERE: Final = Path(__file__).parent
LANGUAGES: Final = {"en": "English", "zh": "中文"}
HTML_LANGUAGE: Final = {"en": "en", "zh": "zh-CN"}


@cache
def environment() -> Environment:
    """Autoescape is on for every template, whatever its name; a value that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(age=age, brief=brief, size=bytes_in_words)
    return made


@cache
def words(language: str) -> Mapping[str, str]:
    """English sentences to those of a language; of English the words that the program writes otherwise."""
    path = HERE / f"words_{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def speaker(language: str) -> Callable[..., str]:
    """`say(sentence, name=value)`: the sentence in a language, with its values put in. Unknown ones stay English."""
    known = words(language)

    def say(sentence: str, **values: object) -> str:
        text = known.get(sentence, sentence)
        # What comes without values may be an error's text, in which a brace is a brace.
        return text.format(**values) if values else text

    return say


def clock_reader(timezone: str) -> Callable[..., str]:
    """`at(seconds, form)`: a time at the site, as `2026-11-28 07:15`."""
    zone = ZoneInfo(timezone)

    def at(seconds: float, form: str = "%Y-%m-%d %H:%M") -> str:
        return datetime.fromtimestamp(seconds, tz=zone).strftime(form)

    return at


def preferred_language(accepted: str) -> str:
    """Of what a browser asks for (Accept-Language), the first that there is."""
    for part in accepted.split(","):
        tag = part.partition(";")[0].strip().lower().partition("-")[0]
        if tag in LANGUAGES:
            return tag
    return "en"


def page(template: str, values: Mapping[str, object]) -> str:
    text: str = environment().get_template(template).render(values)
    return text
