"""Whether a signature may be asked about regions of an origin that it was not trained on.

What it learnt of regions that readers drew need not hold for those that software made: their edges lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from config.schema import SignatureSettings
from pipeline.errors import FeatureRejected
from pipeline.records import ORIGINS, Origin, Role
from pipeline.signature import card
from pipeline.signature.names import origin_word
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry


def notes_on(signature: Signature, origins: Mapping[Role, Origin], settings: SignatureSettings) -> tuple[str, ...]:
    """Why regions of other origins than those of training are evaluated all the same, a sentence each.

    `origins`: who made each region of the exam; regions that the signature does not read do not count.

    Raises:
        FeatureRejected: no recorded evaluation speaks for it on such regions, and the settings do not allow them.
    """
    others = {o for role, o in origins.items() if role in signature.roles} - set(signature.header.origins)
    if not others:
        return ()
    title = signature.header.title
    differ = f"{title} was trained on {_listed(signature.header.origins)} regions, these are"
    allowed = others & set(settings.allow_origins)
    judged = _evaluated(signature, settings) & (others - allowed)
    refused = others - allowed - judged
    if refused:
        raise FeatureRejected(
            f"{differ} {_listed(refused)}: no recorded evaluation on such regions speaks for it, and "
            "signature.allow_origins does not name them",
            code="other-origin",
        )
    notes = [f"{differ} {_listed(allowed)}: the settings allow it"] if allowed else []
    if judged:
        notes.append(f"{differ} {_listed(judged)}: a recorded evaluation speaks for it")
    return tuple(notes)


def _evaluated(signature: Signature, settings: SignatureSettings) -> set[Origin]:
    """Origins on which an external cohort in the registry speaks for the signature, by today's gate."""
    if settings.registry is None or settings.path is not None:
        return set()
    cohorts = Registry(settings.registry, settings.minimum_per_class).external_cohorts(signature.sha256)
    named = [row.get("origins") for row in cohorts.values() if "scores" in row and card.is_evidence(row)]
    return {o for o in ORIGINS if any(isinstance(origins, list) and o in origins for origins in named)}


def _listed(origins: Iterable[Origin]) -> str:
    return ", ".join(origin_word(o) for o in ORIGINS if o in set(origins))
