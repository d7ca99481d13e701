"""The voxels of the series that were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from pipeline import diffusion, volumes
from pipeline.analysis.inputs import Inputs
from pipeline.catalog import Selection, images_of, same_images
from pipeline.errors import ExamRejected
from pipeline.records import SEQUENCES, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.sequences import Match

NOTHING: Mapping[SequenceName, Volume] = MappingProxyType({})
Loaded = tuple[dict[SequenceName, Volume], dict[SequenceName, ExamRejected]]


def load_volumes(
    match: Match, inputs: Inputs, earlier: Match | None = None, loaded: Mapping[SequenceName, Volume] = NOTHING
) -> Loaded:
    """The chosen volumes, and why others cannot be read, side by side: reading is mostly waiting for disk and decoders.

    A volume that an `earlier` match chose alike is taken from `loaded`.
    """

    def one_volume(selection: Selection) -> Volume:
        return volumes.load(selection, inputs.settings.sequences, inputs.exam.rois)

    def is_loaded(name: SequenceName) -> bool:
        return earlier is not None and name in loaded and same_images(match.chosen[name], earlier.chosen[name])

    def load(name: SequenceName) -> Volume | ExamRejected:
        selection = match.chosen[name]
        if is_loaded(name):
            return loaded[name]
        try:
            return diffusion.adc_of(selection, one_volume) if name == "adc" else one_volume(selection)
        except ExamRejected as error:
            return error

    names = [name for name in SEQUENCES if name in match.chosen]
    inputs.bring(image for name in names if not is_loaded(name) for image in images_of(match.chosen[name]))
    with ThreadPoolExecutor(max_workers=3) as pool:
        outcomes = dict(zip(names, pool.map(load, names), strict=True))
    read = {name: one for name, one in outcomes.items() if isinstance(one, Volume)}
    return read, {name: one for name, one in outcomes.items() if isinstance(one, ExamRejected)}
