"""What a series' names say, by the rule tables alone."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from pipeline.sequences.records import Label
from pipeline.sequences.rules import Rules


class NameVerdict(NamedTuple):
    """`concepts`: all that the name says, by the names of the rule tables."""

    label: Label
    confidence: float
    why: str
    concepts: frozenset[str]


# Letters that carry no accent and yet stand for a plain one, and the Cyrillic T of a typed "T1".
_PLAIN = str.maketrans("\u0131\u0142\u00f8\u0111", "ilod") | {0xDF: "ss"}
_CYRILLIC_T = re.compile("\u0442(?=[12])")
# Characters that traditional Chinese or Japanese writes otherwise than the rule tables, which write simplified ones.
_SIMPLIFIED = str.maketrans(
    "強動態掃擴拡瀰減對劑藥後遲遅權橫狀軸圖図觀係數壓質維單単構決值値時間號號頻譜積現顯類",
    "强动态扫扩扩弥减对剂药后迟迟权横状轴图图观系数压质维单单构决值值时间号号频谱积现显类",
)


def normalise(name: str) -> str:
    """Lower case, compatibility forms and accents made plain, separators to single spaces.

    Traditional Chinese and Japanese characters become the simplified ones where the rule tables know them.
    """
    text = _without_accents(unicodedata.normalize("NFKC", name).lower()).translate(_PLAIN).translate(_SIMPLIFIED)
    return re.sub(r"\s+", " ", re.sub(r"[_^]", " ", _CYRILLIC_T.sub("t", text))).strip()


def _without_accents(text: str) -> str:
    """Latin letters without their marks; the marks of kana, Hangul and Cyrillic make other letters and stay."""
    kept: list[str] = []
    latin = False
    for one in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(one):
            latin = one < "\u0250"
        elif latin:
            continue
        kept.append(one)
    return unicodedata.normalize("NFC", "".join(kept))


def judge(name: str, vendor: str, rules: Rules) -> NameVerdict:
    """The label that a name alone suggests; `other` with little confidence where it says nothing known."""
    text = normalise(name)
    concepts = frozenset(key for key, concept in rules.concepts.items() if concept.within(text))
    maker = vendor.lower()
    for decision in rules.decisions:
        if decision.fits(concepts, maker):
            shown = sorted((decision.all_of | decision.any_of) & concepts)
            return NameVerdict(decision.label, decision.confidence, f"its name says {', '.join(shown)}", concepts)
    return NameVerdict("other", 0.2, "its name says nothing known", concepts)


_PHASE_PREFIX = re.compile(r"^(?P<before>.*?(?:^|: *))ph ?\d+ ?[/:_ -] ?(?P<base>.+)$")


def base_of_phase(name: str) -> str | None:
    """The name of the mask that a normalised name of the form "Ph2/NAME" belongs to; None for other names."""
    match = _PHASE_PREFIX.match(name)
    return match["before"] + match["base"] if match else None
