"""What readers said of each kind of region in one proposal: of the tumour, of the lymph nodes. Pure, and JSON.

A kind is answered once. Nothing is said of a proposal: an empty mapping.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypedDict

Answer = Literal["", "accepted", "rejected"]
NAMES = {"tumor": "the tumour", "lymph_nodes": "the lymph nodes", "": "a region of no known kind"}
IN_WORDS: dict[Answer, tuple[str, str]] = {
    "accepted": ("was accepted", "were accepted"),
    "rejected": ("was rejected by the reader", "were rejected by the reader"),
    "": ("waits for confirmation", "wait for confirmation"),
}


class KindAnswer(TypedDict):
    """`segments`: numbers of all that were proposed of this kind; `accepted`: of those that count. `by`: whose word."""

    segments: list[int]
    answer: Answer
    accepted: list[int]
    by: str


KindAnswers = Mapping[str, KindAnswer]


def answered(
    before: KindAnswers, kinds: Mapping[int, str], accepted: Collection[int], rejected: Collection[int], by: str
) -> dict[str, KindAnswer]:
    """With one more word. A kind of which segments are accepted is accepted, with these alone; one of which all
    segments are rejected is rejected. What was answered before stays.

    Args:
        kinds: of every segment of the proposal, by its number.
    """
    after: dict[str, KindAnswer] = {}
    for kind in dict.fromkeys(kinds.values()):
        numbers = sorted(n for n, of in kinds.items() if of == kind)
        now = sorted(set(numbers) & set(accepted))
        answer: Answer = "accepted" if now else "rejected" if set(numbers) <= set(rejected) else ""
        new: KindAnswer = {"segments": numbers, "answer": answer, "accepted": now, "by": by if answer else ""}
        after[kind] = before[kind] if kind in before and before[kind]["answer"] else new
    return after


def closed(answers: KindAnswers, by: str) -> dict[str, KindAnswer]:
    """With every kind accepted that waited."""
    after: dict[str, KindAnswer] = {}
    for kind, one in answers.items():
        whole: KindAnswer = {"segments": one["segments"], "answer": "accepted", "accepted": one["segments"], "by": by}
        after[kind] = one if one["answer"] else whole
    return after


def are_open(answers: KindAnswers) -> bool:
    """Whether a kind waits for a word, where something was said."""
    return any(not one["answer"] for one in answers.values())


def rejected_kinds(answers: KindAnswers) -> set[str]:
    return {kind for kind, one in answers.items() if one["answer"] == "rejected"}


def some_rejected(answers: KindAnswers) -> bool:
    return any(one["answer"] == "rejected" for one in answers.values())


def accepted_by(answers: KindAnswers) -> dict[int, str]:
    """Who stands for each segment that counts."""
    return {number: one["by"] for one in answers.values() for number in one["accepted"]}


def rejected_by(answers: KindAnswers) -> dict[int, str]:
    """Whose word is against each segment of the kinds that do not count."""
    return {n: one["by"] for one in answers.values() if one["answer"] == "rejected" for n in one["segments"]}


def state_of(answers: KindAnswers) -> str:
    """Of the proposal: `accepted` as soon as something counts, `rejected` if nothing can any more, else `sent`."""
    if any(one["answer"] == "accepted" for one in answers.values()):
        return "accepted"
    return "sent" if are_open(answers) or not answers else "rejected"


def in_words(answers: KindAnswers) -> str:
    """Kind by kind."""
    return ", ".join(f"{NAMES[kind]} {IN_WORDS[one['answer']][kind == 'lymph_nodes']}" for kind, one in answers.items())
