"""Regions of one image being measured: their boxes, the images made of these, and the features of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any  # Any: PyRadiomics' settings, of many types

import numpy as np
import numpy.typing as npt

from pipeline.features import classes, diagnostics, preparation, wavelet
from pipeline.features.library import FOREIGN_ERRORS
from pipeline.features.neighbours import Neighbourhood, neighbourhood
from pipeline.features.parameters import Parameters
from pipeline.features.region import Refusal, Region, find
from pipeline.features.roi_features import RoiFeatures, refused, sentence
from pipeline.features.standardisation import Linear
from pipeline.records import Json, Mask, Role, Volume

# image (`wavelet-LLH`) to class (`glcm`) to features
Needs = dict[str, dict[str, list[str]]]
# shape features by what they depend on: region and spacing
Shapes = dict[tuple[object, ...], tuple[dict[str, float], dict[str, str]]]

NOT_ASKED = "The extraction parameters leave it out, or PyRadiomics has no such feature."


def measure(
    volume: Volume,
    masks: Mapping[Role, Mask],
    parameters: Parameters,
    names: Mapping[Role, frozenset[str] | None],
    shapes: Shapes,
    about_image: dict[str, Json] | None = None,
    whole: Linear | None = None,
) -> dict[Role, RoiFeatures]:
    """Features of regions on one volume. `about_image`: its diagnostics, `whole`: what it says of its intensities,
    where these are known already.
    """
    if not preparation.asked(parameters):
        return _Work(volume, masks, parameters, names, shapes, about_image).run()
    about = diagnostics.of_image(volume) if about_image is None else about_image
    every = {role: _wanted_names(parameters, names[role]) for role in masks}
    try:
        whole = whole or preparation.of_image(volume, parameters)
    except Refusal as error:
        return {role: refused(every[role], sentence(error)) for role in masks}
    return {
        role: _prepared(volume, role, mask, parameters, names, shapes, about, whole) for role, mask in masks.items()
    }


def _prepared(
    volume: Volume,
    role: Role,
    mask: Mask,
    parameters: Parameters,
    names: Mapping[Role, frozenset[str] | None],
    shapes: Shapes,
    about: dict[str, Json],
    whole: Linear | None,
) -> RoiFeatures:
    """One region, measured on what is made of its image."""
    try:
        # Of what is resampled, PyRadiomics asks the size afterwards.
        region = _region(
            volume, mask, {"minimumROIDimensions": 0} if preparation.resamples(parameters) else parameters.settings
        )
        ready = preparation.prepare(volume, region, parameters, whole)
    except FOREIGN_ERRORS as error:
        return refused(_wanted_names(parameters, names[role]), sentence(error))
    left = preparation.afterwards(parameters)
    measured = _Work(ready.volume, {role: ready.mask}, left, {role: names[role]}, shapes, {}).run()[role]
    if measured.refusal is not None:
        return measured
    about_mask = diagnostics.of_mask(region, volume.geometry)
    return replace(measured, diagnostics={**about, **about_mask, **ready.diagnostics})


def _region(volume: Volume, mask: Mask, settings: Mapping[str, Any]) -> Region:
    if not mask.geometry.same_grid(volume.geometry):
        raise Refusal("Image/Mask geometry mismatch")
    return find(mask.voxels_zyx, settings.get("minimumROIDimensions", 2), settings.get("minimumROISize"))


def _wanted_names(parameters: Parameters, names: frozenset[str] | None) -> list[str]:
    """PyRadiomics' names, in its order."""
    every = ["_".join(parts) for parts in parameters.names()]
    if names is None:
        return every
    return [name for name in every if name in names] + sorted(names.difference(every))


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
        self.around: dict[Role, Neighbourhood] = {}
        self.needs = {role: _needs(parameters, names[role]) for role in masks}

    def run(self) -> dict[Role, RoiFeatures]:
        regions: dict[Role, Region] = {}
        refusals: dict[Role, str] = {}
        for role, mask in self.masks.items():
            try:
                regions[role] = _region(self.volume, mask, self.parameters.settings)
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
            else refused(_wanted_names(self.parameters, self.names[role]), refusals[role])
            for role in self.masks
        }

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

    def _around(self, role: Role, region: Region) -> Neighbourhood:
        if role not in self.around:
            self.around[role] = neighbourhood(region.mask_zyx)
        return self.around[role]

    def _texture(self, role: Role, region: Region, image: str, voxels_zyx: npt.NDArray[np.generic]) -> None:
        wanted = self.needs[role].get(image, {})
        settings = self.parameters.settings
        try:
            binned = classes.bin_levels(voxels_zyx, region.mask_zyx, self._around(role, region), settings)
        except FOREIGN_ERRORS as error:
            names = (f"{image}_{c}_{f}" for c, features in wanted.items() for f in features)
            self.missing[role].update(dict.fromkeys(names, sentence(error)))
            return
        if image == "original":
            self.grey_levels[role] = binned.highest
        spacing = self.volume.geometry.spacing_xyz_mm
        classes.texture(image, voxels_zyx, binned, spacing, settings, wanted, self.values[role], self.missing[role])

    def _part(self, role: Role, region: Region, about_image: dict[str, Json]) -> RoiFeatures:
        asked = _wanted_names(self.parameters, self.names[role])
        values = self.values[role]
        missing = {n: self.missing[role].get(n, NOT_ASKED) for n in asked if n not in values}
        provenance = {**about_image, **diagnostics.of_mask(region, self.volume.geometry)}
        in_order = {name: values[name] for name in asked if name in values}
        return RoiFeatures(in_order, missing, provenance, self.grey_levels.get(role))


def _needs(parameters: Parameters, names: frozenset[str] | None) -> Needs:
    needs: Needs = {}
    for image, class_name, feature in parameters.names():
        if names is None or f"{image}_{class_name}_{feature}" in names:
            needs.setdefault(image, {}).setdefault(class_name, []).append(feature)
    return needs
