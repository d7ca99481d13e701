"""Files of a site's own that the settings name: whether what stands in them is what it should be.

A rule table that is wrong would stop every exam, one after the other. So it is told at start, and where people look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from config.load import ConfigError
from config.schema import Settings
from daemon.finding import Finding
from pipeline.errors import InputRejected


def require_right(settings: Settings) -> None:
    """Raise ConfigError where a process that works on exams would fail at each of them."""
    faults = list(wrong(settings))
    if faults:
        raise ConfigError("\n".join(faults))


def finding(settings: Settings) -> Finding:
    faults = list(wrong(settings))
    if faults:
        return Finding(
            "rules",
            "fail",
            f"exams fail at a table of this site: {'; '.join(faults)}",
            "mend the file, or leave the key out, and start axrad anew",
        )
    return Finding("rules", "ok", "the site's own tables can be used, or there are none")


def wrong(settings: Settings) -> Iterator[str]:
    """Each with the key that names the file. What no key names is not loaded."""
    for key, use in _uses(settings):
        try:
            use()
        except InputRejected as error:
            yield f"{key}: {error.message}"


def _uses(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    # Not at the top: what reads them loads the science.
    if (own := settings.assembly.exam_rules) is not None:
        from pipeline.analysis.body_part import exam_rules

        yield "assembly.exam_rules", lambda: exam_rules(own)
    if (table := settings.sequences.rules) is not None:
        from pipeline.sequences.rules import rules

        yield "sequences.rules", lambda: rules(table)
    if (names := settings.roi.rules) is not None:
        from pipeline.roi.rules import load_rules

        yield "roi.rules", lambda: load_rules(names)
    if settings.proposal.from_images == "model" and (card := settings.proposal.model) is not None:
        from pipeline.proposal.model_card import check_model

        yield "proposal.model", lambda: check_model(card)
    if settings.features.params is not None:
        from pipeline.features import from_settings

        yield "features.params", lambda: from_settings(settings.features)
