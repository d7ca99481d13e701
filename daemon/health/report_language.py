"""Whether archives hold the words of a report in the language that it is written in."""

from __future__ import annotations

from collections.abc import Iterator

from config.schema import Destination, Settings
from daemon.finding import Finding

# What is written where the exam's own character set does not hold a report.
UTF_8 = "ISO_IR 192"
SPOKEN = {"en": "English", "zh": "Chinese"}


def examine(settings: Settings) -> Iterator[Finding]:
    """One record per destination; nothing for a language that every character set holds."""
    if settings.report.language != "en":
        yield from (of_destination(destination, settings) for destination in settings.destination)


def of_destination(destination: Destination, settings: Settings) -> Finding:
    """`character_sets` of a destination is what its archive holds; where it names none, any."""
    spoken, sets = SPOKEN[settings.report.language], destination.character_sets
    if not sets or UTF_8 in sets:
        text = f"{destination.name} gets reports in {spoken}, in the exam's character set or in UTF-8 ({UTF_8})"
        return Finding("language", "ok", text, subject=destination.name)
    able = [name for name in sets if holds(name, settings)]
    if not able:
        text = f"{destination.name} holds {', '.join(sets)}, in which no report in {spoken} can be written"
        remedy = 'set report.language = "en", or send to an archive that holds UTF-8'
        return Finding("language", "fail", text, remedy, destination.name)
    text = f"{destination.name} holds reports in {spoken} only of exams in {' or '.join(able)}: others are in UTF-8"
    remedy = f'set report.language = "en", or let the archive hold {UTF_8}'
    return Finding("language", "warn", text, remedy, destination.name)


def holds(character_set: str, settings: Settings) -> bool:
    """Whether a character set has every character of the language's words."""
    from pydicom.charset import python_encoding

    from dicom_sr.language import words_of

    text = "".join(sentence for section in words_of(settings).table.values() for sentence in section.values())
    try:
        text.replace("³", "").encode(python_encoding[character_set])
    except UnicodeEncodeError:
        return False
    return True
