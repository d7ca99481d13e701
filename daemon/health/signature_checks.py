"""Whether exams can have, with the configured settings, what the signatures in use read."""

from __future__ import annotations

from collections.abc import Iterator

from config.schema import Settings
from daemon.finding import Finding, briefly
from pipeline.errors import AxradError


def examine(settings: Settings) -> Iterator[Finding]:
    """What is wrong; a signature that cannot be read has a line of its own."""
    # Not at the top: it loads the science.
    from pipeline.analysis.signatures_in_use import Signatures
    from pipeline.features import columns_made
    from pipeline.signature.fitness import unfit

    try:
        signatures = Signatures.from_settings(settings.signature)
        # An exam is extracted as the first of them was trained.
        made = columns_made(signatures.as_trained(settings).features)
    except AxradError:
        return
    here = settings.clinical.ki67_high_percent
    others = [s for s in signatures.known if s.header.ki67_high_percent not in (None, here)]
    if others:
        percents = ", ".join(sorted({f"{s.header.ki67_high_percent:g} %" for s in others}))
        yield Finding(
            "ki67",
            "warn",
            f"{briefly([s.header.title for s in others])} was trained on subtypes in which Ki-67 is high from "
            f"{percents} on, here from {here:g} % on: it abstains where that decides between luminal A and B",
            "set clinical.ki67_high_percent to it, if the site's subtypes follow from it",
        )
    reasons = {s.header.title: why for s in signatures.known if (why := unfit(s, made))}
    if reasons:
        text = f"{briefly(list(reasons))} cannot answer: {next(iter(reasons.values()))}"
        yield Finding("features", "fail", text, "or take it out of use: `axrad signature activate SIGNATURE --off`")
