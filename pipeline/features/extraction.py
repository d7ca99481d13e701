"""Features of all ROIs: what PyRadiomics' plain call gives, bit for bit, without its work on the whole volume.

`extract` does a whole exam, `extract_sequence` one image with its ROIs. PyRadiomics' C code holds the interpreter lock,
so ROIs side by side gain in processes, hardly in threads; both are safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any  # Any: JSON from a forked process

from config.schema import Features
from pipeline.features import diagnostics, preparation
from pipeline.features.library import quiet
from pipeline.features.parameters import Parameters, for_sequence
from pipeline.features.reference_call import plain_extract
from pipeline.features.region import find
from pipeline.features.region_work import NOT_ASKED, Shapes, measure
from pipeline.features.roi_features import RoiFeatures, from_json, refused, sentence, to_json
from pipeline.parallel.forked_work import share
from pipeline.records import FeatureSet, Json, Mask, Role, Sequence, Volume


def extract(
    volumes: Mapping[Sequence, Volume],
    masks: Mapping[tuple[Sequence, Role], Mask],
    settings: Features,
    wanted: frozenset[str] | None = None,
    processes: int = 1,
    shapes: Shapes | None = None,
) -> FeatureSet:
    """Features of every mask on the volume of its sequence, named `{sequence}.{roi}.{pyradiomics name}`.

    `wanted`: full names; then only these are computed, and each of them ends in `values` or in `missing`. None: all.
    A mask has the grid of its volume. Values do not depend on the number of `processes`. `shapes`: filled and read by
    one process, so that a region that is measured again on another image has its shape already.

    Raises: InputRejected if `settings.params` is not a parameter file that PyRadiomics accepts.
    """
    parameters = {name: for_sequence(settings, name) for name in volumes}
    local = all(p.local for p in parameters.values())
    if processes > 1 and local and settings.engine != "plain":
        return gather(_shared(volumes, masks, parameters, wanted, processes), wanted)
    shapes = {} if shapes is None else shapes
    parts: dict[tuple[Sequence, Role], RoiFeatures] = {}
    for sequence, volume in volumes.items():
        rois = {role: mask for (name, role), mask in masks.items() if name == sequence}
        names = {role: _local(wanted, sequence, role) for role in rois}
        if settings.engine == "plain":
            done = _plainly(volume, rois, parameters[sequence], names)
        else:
            done = extract_sequence(volume, rois, parameters[sequence], names, shapes)
        parts |= {(sequence, role): measured for role, measured in done.items()}
    return gather(parts, wanted)


def _shared(
    volumes: Mapping[Sequence, Volume],
    masks: Mapping[tuple[Sequence, Role], Mask],
    parameters: Mapping[Sequence, Parameters],
    wanted: frozenset[str] | None,
    processes: int,
) -> dict[tuple[Sequence, Role], RoiFeatures]:
    """One ROI at a time, the largest first, shared between processes; and whole images, for their diagnostics."""
    keys = sorted((key for key in masks if key[0] in volumes), key=lambda key: -masks[key].voxels)
    images = [name for name in volumes if any(name == key[0] for key in keys)]

    def of_roi(name: Sequence, role: Role) -> Json:
        names = {role: _local(wanted, name, role)}
        with quiet():
            one = {role: masks[name, role]}
            return to_json(measure(volumes[name], one, parameters[name], names, {}, {})[role])

    def of_image(name: Sequence) -> Json:
        return dict(diagnostics.of_image(volumes[name]))

    works = [*(partial(of_roi, *key) for key in keys), *(partial(of_image, name) for name in images)]
    answers = share(works, processes)
    measured = {key: from_json(answer) for key, answer in zip(keys, answers, strict=False)}
    about: dict[Sequence, Any] = dict(zip(images, answers[len(keys) :], strict=True))
    in_order = [(name, role) for name in volumes for (other, role) in masks if other == name]
    return {key: _with_image(measured[key], about[key[0]]) for key in in_order}


def _with_image(measured: RoiFeatures, about_image: Mapping[str, Json]) -> RoiFeatures:
    return measured if measured.refusal else replace(measured, diagnostics={**about_image, **measured.diagnostics})


def extract_sequence(
    volume: Volume,
    masks: Mapping[Role, Mask],
    parameters: Parameters,
    wanted: Mapping[Role, frozenset[str] | None] | None = None,
    shapes: Shapes | None = None,
) -> dict[Role, RoiFeatures]:
    """Features of several ROIs on one volume. `wanted`: PyRadiomics' names per ROI, None for all.

    `shapes` is filled and read, so that a ROI on the same grid in another sequence is not measured again.
    """
    names = {role: (wanted or {}).get(role) for role in masks}
    if not parameters.local:
        return _plainly(volume, masks, parameters, names)
    with quiet():
        return measure(volume, masks, parameters, names, {} if shapes is None else shapes)


def _plainly(
    volume: Volume, masks: Mapping[Role, Mask], parameters: Parameters, names: Mapping[Role, frozenset[str] | None]
) -> dict[Role, RoiFeatures]:
    return {role: _only(_plain(volume, mask, parameters), names[role]) for role, mask in masks.items()}


def _plain(volume: Volume, mask: Mask, parameters: Parameters) -> RoiFeatures:
    try:
        with quiet():
            if parameters.ibsi_grid:
                prepared = preparation.prepare(
                    volume, find(mask.voxels_zyx, 0), parameters, preparation.of_image(volume, parameters)
                )
                return plain_extract(prepared.volume, prepared.mask, preparation.afterwards(parameters))
            ready = preparation.standardised(volume, mask, parameters)
    except ValueError as error:
        return refused(("_".join(parts) for parts in parameters.names()), sentence(error))
    return plain_extract(ready, mask, parameters)


def gather(parts: Mapping[tuple[Sequence, Role], RoiFeatures], wanted: frozenset[str] | None = None) -> FeatureSet:
    """One set with full names out of the parts; a wanted name that no part knows is missing."""
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    provenance: dict[str, Json] = {}
    levels: dict[str, int] = {}
    for (sequence, role), part in parts.items():
        prefix = f"{sequence}.{role}."
        values.update((prefix + name, value) for name, value in part.values.items())
        missing.update((prefix + name, why) for name, why in part.missing.items())
        provenance.update((prefix + name, value) for name, value in part.diagnostics.items())
        if part.grey_levels is not None:
            levels[f"{sequence}.{role}"] = part.grey_levels
    for name in sorted(wanted or ()):
        if name not in values and name not in missing:
            missing[name] = f"There is no region {'.'.join(name.split('.')[:2])}."
    return FeatureSet(values, missing, provenance, levels)


def _local(wanted: frozenset[str] | None, sequence: str, role: str) -> frozenset[str] | None:
    if wanted is None:
        return None
    prefix = f"{sequence}.{role}."
    return frozenset(name.removeprefix(prefix) for name in wanted if name.startswith(prefix))


def _only(measured: RoiFeatures, names: frozenset[str] | None) -> RoiFeatures:
    if names is None:
        return measured
    missing = {n: measured.missing.get(n, measured.refusal or NOT_ASKED) for n in names if n not in measured.values}
    values = {n: v for n, v in measured.values.items() if n in names}
    return RoiFeatures(values, missing, measured.diagnostics, measured.grey_levels, measured.refusal)
