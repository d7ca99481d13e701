"""The words of series names and region names: how a name is made plain, and what it says.

`config/vocabulary.toml` holds the words, `config/sequence_rules.toml` those of series names in English. Both have one
form, read here; nowhere else is a name matched with words.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.errors import InputRejected

FILE = "vocabulary.toml"
# Any: what TOML holds; the reader of a table checks its form.
Table = dict[str, Any]
_PIECE = re.compile(r"\{([a-z_]+)\}")
_PARTS = ("words", "patterns", "never")

# Letters that carry no accent and yet stand for a plain one, and the Cyrillic T of a typed "T1".
_PLAIN = str.maketrans("\u0131\u0142\u00f8\u0111", "ilod") | {0xDF: "ss"}
_CYRILLIC_T = re.compile("\u0442(?=[12])")
# Characters that traditional Chinese or Japanese writes otherwise than the tables, which write simplified ones.
_SIMPLIFIED = str.maketrans(
    "強動態掃擴拡瀰減對劑藥後遲遅權横狀軸圖図觀係數壓質維單単構決值値時間號号頻譜積現顯類"
    "腫塊變変結節惡鎖窩轉転側雙両發発巣潤嚢線頸內衛導區圍緣囲無辺邊陰見沒",
    "强动态扫扩扩弥减对剂药后迟迟权横状轴图图观系数压质维单单构决值值时间号号频谱积现显类"
    "肿块变变结节恶锁窝转转侧双两发发巢润囊线颈内卫导区围缘围无边边阴见没",
)


def built_in_table(name: str) -> Table:
    """A table of the folder `config`."""
    return tomllib.loads(resources.files("config").joinpath(name).read_text(encoding="utf-8"))


def site_table(path: Path, subject: str) -> Table:
    """A site's own table. Raises InputRejected, which names the `subject` of the rules, where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputRejected(f"cannot read the {subject} rules {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRejected(f"the {subject} rules {path} are not TOML: {error}") from error


def normalise(name: str) -> str:
    """Lower case, compatibility forms and accents made plain, separators to single spaces.

    Traditional Chinese and Japanese characters become the simplified ones where the tables know them.
    """
    text = _without_accents(unicodedata.normalize("NFKC", name).lower()).translate(_PLAIN).translate(_SIMPLIFIED)
    return re.sub(r"\s+", " ", re.sub(r"[_^]", " ", _CYRILLIC_T.sub("t", text))).strip()


def _without_accents(text: str) -> str:
    """Latin letters without their marks; the marks of kana, Hangul and Cyrillic make other letters and stay."""
    letters: list[str] = []
    latin = False
    for one in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(one):
            latin = one < "\u0250"
        elif latin:
            continue
        letters.append(one)
    return unicodedata.normalize("NFC", "".join(letters))


@dataclass(frozen=True)
class Concept:
    """Something that a name can say."""

    says: re.Pattern[str]
    never: re.Pattern[str] | None = None

    def within(self, text: str) -> bool:
        """Whether a normalised name says it."""
        return self.search(text) is not None

    def search(self, text: str) -> re.Match[str] | None:
        """Where a normalised name says it; what the concept must never mean is taken out before."""
        return self.says.search(self.never.sub(" ", text) if self.never else text)


Parts = Mapping[str, list[str]]


def concepts_of(tables: Iterable[Mapping[str, Parts]], pieces: Mapping[str, str]) -> dict[str, Concept]:
    """The concepts of several tables, each adding its words and patterns to those before.

    Raises ValueError, KeyError, TypeError or re.error where a table is not of the form.
    """
    gathered: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        for name, parts in table.items():
            for part, patterns in parts.items():
                if part not in _PARTS:
                    raise ValueError(f"concept {name} has an unknown part {part}")
                gathered.setdefault(name, {}).setdefault(part, []).extend(patterns)
    return {name: _concept(parts, pieces) for name, parts in gathered.items()}


def add_pieces(pieces: dict[str, str], more: Mapping[str, str]) -> None:
    """Add a table's pieces of patterns: alternatives of those of the same name."""
    for name, text in more.items():
        pieces[name] = f"{pieces[name]}|{text}" if name in pieces else text


def _concept(parts: Parts, pieces: Mapping[str, str]) -> Concept:
    def filled(patterns: list[str]) -> list[str]:
        return [_PIECE.sub(lambda piece: f"(?:{pieces[piece[1]]})", pattern) for pattern in patterns]

    alternatives = [word(w) for w in parts.get("words", [])] + [f"(?:{p})" for p in filled(parts.get("patterns", []))]
    never = filled(parts.get("never", []))
    return Concept(
        re.compile("|".join(alternatives) or r"(?!)"),
        re.compile("|".join(f"(?:{p})" for p in never)) if never else None,
    )


def word(text: str) -> str:
    """The pattern of a word: whole where it is Latin, anywhere else (Chinese, Korean, Cyrillic endings)."""
    if not text.isascii():
        return re.escape(normalise(text))
    return rf"(?<![a-z])(?:{text})(?![a-z])"
