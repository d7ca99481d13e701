"""Whether two studies of one patient are one exam, by the site's rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.catalog import InstanceFacts

IN_COMMON: dict[str, tuple[str, Callable[[InstanceFacts], object]]] = {
    "study_date": ("study date", lambda f: f.tags.get("StudyDate")),
    "frame_of_reference": ("frame of reference", lambda f: f.frame_of_reference_uid),
    "scanner": ("scanner", lambda f: _both(f.tags.get("Manufacturer"), f.tags.get("ManufacturerModelName"))),
}


def common_properties(one: Sequence[InstanceFacts], other: Sequence[InstanceFacts], rule: Sequence[str]) -> str | None:
    """The properties that the images share, in words, if these are all that the rule requires; None otherwise.

    A missing value is never in common. An empty rule joins nothing.
    """
    properties = []
    for name in rule:
        words, value = IN_COMMON[name]
        values = [{v for f in images if (v := value(f)) is not None} for images in (one, other)]
        if not values[0] & values[1]:
            return None
        properties.append(words)
    return "the same " + ", ".join(["patient", *properties]) if properties else None


def _both(maker: object, model: object) -> object:
    return (str(maker), str(model)) if maker and model else None
