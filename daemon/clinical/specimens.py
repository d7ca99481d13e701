"""Where a pathology result comes from: FHIR R4 Specimens, from a biopsy or from surgery.

What is told of the removed tumour was not known when the question about the axilla was asked; only biopsies count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal  # Any: JSON from outside, of any shape until it is looked at

Json = Mapping[str, Any]
Origin = Literal["biopsy", "surgery"]

# SNOMED CT, of the specimen's type or of the procedure that took it.
_CODES: Final[Mapping[str, Origin]] = {
    "258415003": "biopsy", "86273004": "biopsy", "122548005": "biopsy", "44578009": "biopsy",
    "69031006": "surgery", "172043006": "surgery", "64368001": "surgery", "392021009": "surgery",
    "396487001": "surgery",
}  # fmt: skip
# English, German, French and Spanish by the stems they share; Chinese, Japanese. A sentinel node is taken by surgery.
_SURGERY: Final = re.compile(
    r"maste[ck]tom|lumpectom|quadrante[ck]tom|tumou?re[ck]tom|segmente[ck]tom|lymphaden?e[ck]tom|ex[cz]i[sz]|rese[ck][ct]|"
    r"extirpa|ex[eé]r[eè]se|surgical|chirurg|quir[uú]rg|operation|op[eé]rat|dissection|dissektion|"
    r"sentinel|sentinelle|centinela|w[aä]chter|\bslnb?\b|\balnd\b|切除|手术|手術|前哨|清扫|郭清",
    re.IGNORECASE,
)
_BIOPSY: Final = re.compile(
    r"biop|\bcore\b|needle|\bfna\b|vacuum|punch|stanz|punktion|ponction|punci[oó]n|穿刺|活检|活檢|生検|針",
    re.IGNORECASE,
)


def origin(specimen: Json) -> Origin | None:
    """By codes, else by words; None where neither tells or both are told.

    An excisional biopsy takes the tumour out: it counts as surgery.
    """
    collection = specimen.get("collection")
    collection = collection if isinstance(collection, Mapping) else {}
    concepts = [specimen.get("type"), collection.get("method"), collection.get("procedure")]
    codings = [c for concept in concepts if isinstance(concept, Mapping) for c in _codings(concept)]
    coded: set[Origin] = {_CODES[code] for c in codings if (code := str(c.get("code"))) in _CODES}
    texts = [str(c["display"]) for c in codings if c.get("display")]
    texts += [str(concept["text"]) for concept in concepts if isinstance(concept, Mapping) and concept.get("text")]
    if "surgery" in coded or any(_SURGERY.search(text) for text in texts):
        return "surgery"
    return "biopsy" if "biopsy" in coded or any(_BIOPSY.search(text) for text in texts) else None


def reference_of(observation: Json) -> str | None:
    """What an Observation calls its specimen: `Specimen/ID`, `#ID` within itself; None where it has none."""
    specimen = observation.get("specimen")
    if not isinstance(specimen, Mapping):
        return None
    return str(specimen.get("reference") or "unknown").partition("/_history/")[0]


def identifier_of(reference: str) -> str | None:
    """The id of `Specimen/ID`, alone or at the end of an address; None for anything else."""
    parts = reference.rsplit("/", 2)
    return parts[-1] if len(parts) >= 2 and parts[-2] == "Specimen" else None


def found(observation: Json, known: Mapping[str, Json]) -> Json | None:
    """An Observation's specimen, from what it contains or from `known` by id."""
    reference = reference_of(observation) or ""
    if reference.startswith("#"):
        within = observation.get("contained")
        return next((c for c in within or () if isinstance(c, Mapping) and c.get("id") == reference[1:]), None)
    return known.get(identifier_of(reference) or "")


def _codings(concept: Json) -> list[Json]:
    return [c for c in concept.get("coding") or () if isinstance(c, Mapping)]
