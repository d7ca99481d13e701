"""An archive that cannot hold the language of reports is told before the first one is sent."""

from __future__ import annotations

import pytest

from config.schema import Destination, Report, Settings
from daemon.health.report_language import examine


def findings(language: str, *character_sets: str):
    destination = Destination(name="pacs", ae_title="PACS", host="h", port=104, character_sets=character_sets)
    return list(examine(Settings(report=Report(language=language), destination=(destination,))))


def test_english_is_held_by_every_archive() -> None:
    assert findings("en", "ISO_IR 6") == []


@pytest.mark.parametrize("sets", [(), ("ISO_IR 192",), ("ISO_IR 100", "ISO_IR 192")])
def test_an_archive_that_holds_unicode_or_names_no_limit_gets_chinese(sets: tuple[str, ...]) -> None:
    (finding,) = findings("zh", *sets)
    assert (finding.level, finding.subject) == ("ok", "pacs")


@pytest.mark.parametrize("sets", [("ISO_IR 6",), ("ISO_IR 100",), ("ISO_IR 100", "ISO_IR 144")])
def test_an_archive_of_latin_letters_is_a_failure(sets: tuple[str, ...]) -> None:
    (finding,) = findings("zh", *sets)
    assert finding.level == "fail"
    assert "no report in Chinese can be written" in finding.text
    assert 'report.language = "en"' in finding.remedy


@pytest.mark.parametrize("held", ["GB18030", "GBK"])
def test_an_archive_of_chinese_sets_alone_is_warned_of_since_other_exams_are_written_in_utf_8(held: str) -> None:
    (finding,) = findings("zh", held)
    assert finding.level == "warn"
    assert held in finding.text
