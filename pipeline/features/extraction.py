"""Features of all ROIs: what PyRadiomics' plain call gives, bit for bit, without its work on the whole volume.

`extract` does a whole exam, `extract_sequence` one image with its ROIs. PyRadiomics' C code holds the interpreter lock,
so ROIs side by side gain in processes, hardly in threads; both are safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any  # Any: JSON from a forked process

import numpy as np
import numpy.typing as npt

from config.schema import Features
from pipeline.features import classes, diagnostics, wavelet
from pipeline.features.library import FOREIGN_ERRORS, quiet
from pipeline.features.parameters import Parameters, from_settings
from pipeline.features.reference_call import plain_extract
from pipeline.features.region import Refusal, Region, find
from pipeline.features.roi_features import RoiFeatures, from_json, refused, sentence, to_json
from pipeline.parallel.forked_work import share
from pipeline.records import FeatureSet, Json, Mask, Role, Sequence, Volume

# image (`wavelet-LLH`) to class (`glcm`) to features
Needs = dict[str, dict[str, list[str]]]
# shape features by what they depend on: region and spacing
Shapes = dict[tuple[object, ...], tuple[dict[str, float], dict[str, str]]]

NOT_ASKED = "The extraction parameters leave it out, or PyRadiomics has no such feature."


def extract(
    volumes: Mapping[Sequence, Volume],
    masks: Mapping[tuple[Sequence, Role], Mask],
    settings: Features,
    wanted: frozenset[str] | None = None,
    processes: int = 1,
) -> FeatureSet:
    """Features of every mask on the volume of its sequence, named `{sequence}.{roi}.{pyradiomics name}`.

    `wanted`: full names; then only these are computed, and each of them ends in `values` or in `missing`. None: all.
    A mask has the grid of its volume. Values do not depend on the number of `processes`.

    Raises: InputRejected if `settings.params` is not a parameter file that PyRadiomics accepts.
    """
    parameters = from_settings(settings)
    if processes > 1 and parameters.local and settings.engine != "plain":
        return gather(_shared(volumes, masks, parameters, wanted, processes), wanted)
    shapes: Shapes = {}
    parts: dict[tuple[Sequence, Role], RoiFeatures] = {}
    for sequence, volume in volumes.items():
        rois = {role: mask for (name, role), mask in masks.items() if name == sequence}
        names = {role: _local(wanted, sequence, role) for role in rois}
        if settings.engine == "plain":
            done = _plainly(volume, rois, parameters, names)
        else:
            done = extract_sequence(volume, rois, parameters, names, shapes)
        parts |= {(sequence, role): measured for role, measured in done.items()}
    return gather(parts, wanted)


def _shared(
    volumes: Mapping[Sequence, Volume],
    masks: Mapping[tuple[Sequence, Role], Mask],
    parameters: Parameters,
    wanted: frozenset[str] | None,
    processes: int,
) -> dict[tuple[Sequence, Role], RoiFeatures]:
    """One ROI at a time, the largest first, shared between processes; and whole images, for their diagnostics."""
    keys = sorted((key for key in masks if key[0] in volumes), key=lambda key: -masks[key].voxels)
    images = [name for name in volumes if any(name == key[0] for key in keys)]

    def of_roi(name: Sequence, role: Role) -> Json:
        names = {role: _local(wanted, name, role)}
        with quiet():
            return to_json(_Work(volumes[name], {role: masks[name, role]}, parameters, names, {}, {}).run()[role])

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
        return _Work(volume, masks, parameters, names, {} if shapes is None else shapes).run()


def _plainly(
    volume: Volume, masks: Mapping[Role, Mask], parameters: Parameters, names: Mapping[Role, frozenset[str] | None]
) -> dict[Role, RoiFeatures]:
    return {role: _only(plain_extract(volume, mask, parameters), names[role]) for role, mask in masks.items()}


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


class _Work:
    """One volume and its ROIs, while being worked on."""

    def __init__(
        self,
        volume: Volume,
        masks: Mapping[Role, Mask],
        parameters: Parameters,
        names: Mapping[Role, frozenset[str] | None],
        shapes: Shapes,
        about_image: dict[str, Json] | None = None,
    ) -> None:
        self.volume, self.masks, self.parameters, self.names, self.shapes = volume, masks, parameters, names, shapes
        self.about_image = about_image
        self.values: dict[Role, dict[str, float]] = {role: {} for role in masks}
        self.missing: dict[Role, dict[str, str]] = {role: {} for role in masks}
        self.grey_levels: dict[Role, int] = {}
        self.needs = {role: _needs(parameters, names[role]) for role in masks}

    def run(self) -> dict[Role, RoiFeatures]:
        regions: dict[Role, Region] = {}
        refusals: dict[Role, str] = {}
        for role, mask in self.masks.items():
            try:
                regions[role] = self._region(mask)
            except Refusal as error:
                refusals[role] = sentence(error)
        for role, region in regions.items():
            self._shape(role, region)
        for image, role, voxels_zyx in self._images(regions):
            self._texture(role, regions[role], image, voxels_zyx)
        about_image = self.about_image
        if about_image is None:
            about_image = diagnostics.of_image(self.volume) if regions else {}
        return {
            role: self._part(role, regions[role], about_image)
            if role in regions
            else refused(self._wanted_names(role), refusals[role])
            for role in self.masks
        }

    def _region(self, mask: Mask) -> Region:
        if not mask.geometry.same_grid(self.volume.geometry):
            raise Refusal("Image/Mask geometry mismatch")
        settings = self.parameters.settings
        return find(mask.voxels_zyx, settings.get("minimumROIDimensions", 2), settings.get("minimumROISize"))

    def _shape(self, role: Role, region: Region) -> None:
        features = self.needs[role].get("original", {}).pop("shape", None)
        if not features:
            return
        spacing = self.volume.geometry.spacing_xyz_mm
        key = (spacing, region.box.shape_zyx, region.mask_zyx.tobytes(), tuple(features))
        if key not in self.shapes:
            self.shapes[key] = classes.shape(region.mask_zyx, spacing, self.parameters.settings, features)
        values, missing = self.shapes[key]
        self.values[role].update(values)
        self.missing[role].update(missing)

    def _images(self, regions: Mapping[Role, Region]) -> Iterator[tuple[str, Role, npt.NDArray[np.generic]]]:
        """Image name, ROI, and the voxels in the ROI's box: the original, and the wavelet bands that are asked for."""
        voxels = self.volume.voxels_zyx
        for role, region in regions.items():
            yield "original", role, np.ascontiguousarray(voxels[region.box.slices])
        asked = {r: frozenset(i[8:] for i in self.needs[r] if i.startswith("wavelet-")) for r in regions}
        boxes = {role: regions[role].box for role in regions if asked[role]}
        for box, roles in wavelet.share(boxes, voxels.shape):
            union = frozenset[str]().union(*(asked[role] for role in roles))
            for band, data in wavelet.bands(voxels, box, union):
                for role in roles:
                    if band in asked[role]:
                        yield f"wavelet-{band}", role, np.ascontiguousarray(data[boxes[role].within(box)])

    def _texture(self, role: Role, region: Region, image: str, voxels_zyx: npt.NDArray[np.generic]) -> None:
        wanted = self.needs[role].get(image, {})
        settings = self.parameters.settings
        try:
            binned = classes.bin_levels(voxels_zyx, region.mask_zyx, settings)
        except FOREIGN_ERRORS as error:
            names = (f"{image}_{c}_{f}" for c, features in wanted.items() for f in features)
            self.missing[role].update(dict.fromkeys(names, sentence(error)))
            return
        if image == "original":
            self.grey_levels[role] = binned.highest
        spacing = self.volume.geometry.spacing_xyz_mm
        classes.texture(image, voxels_zyx, binned, spacing, settings, wanted, self.values[role], self.missing[role])

    def _part(self, role: Role, region: Region, about_image: dict[str, Json]) -> RoiFeatures:
        asked = self._wanted_names(role)
        values = self.values[role]
        missing = {n: self.missing[role].get(n, NOT_ASKED) for n in asked if n not in values}
        provenance = {**about_image, **diagnostics.of_mask(region, self.volume.geometry)}
        in_order = {name: values[name] for name in asked if name in values}
        return RoiFeatures(in_order, missing, provenance, self.grey_levels.get(role))

    def _wanted_names(self, role: Role) -> list[str]:
        """PyRadiomics' names, in its order."""
        names = self.names[role]
        every = ["_".join(parts) for parts in self.parameters.names()]
        if names is None:
            return every
        return [name for name in every if name in names] + sorted(names.difference(every))


def _needs(parameters: Parameters, names: frozenset[str] | None) -> Needs:
    needs: Needs = {}
    for image, class_name, feature in parameters.names():
        if names is None or f"{image}_{class_name}_{feature}" in names:
            needs.setdefault(image, {}).setdefault(class_name, []).append(feature)
    return needs
