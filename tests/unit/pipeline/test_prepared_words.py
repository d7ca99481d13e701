"""What papers and checklists say of normalisation, resampling and bins is what was done."""

from __future__ import annotations

from config.schema import Features, SequenceFeatures, Settings
from pipeline.signature.prepared_words import bins, grids, intensities


def test_by_default_nothing_was_prepared() -> None:
    assert intensities(Features()) == "without normalisation of intensities"
    assert (grids(Features()), bins(Features())) == ("without resampling", "at a fixed bin width of 25")


def test_the_advised_recipe_is_told_by_sequence() -> None:
    advised = Settings.model_validate({"features": {"recipe": "advised"}}).features
    assert intensities(advised) == (
        "T1+C: z scores over the body (Otsu's threshold), times 100; T2: z scores over the body (Otsu's threshold), "
        "times 100; no other was normalised"
    )
    assert bins(advised).endswith("T2: at a fixed bin width of 10; any other at a fixed bin width of 25")


def test_cubes_and_levels_are_told_with_their_number() -> None:
    rule = SequenceFeatures(voxel_mm=1.5, bins=32, standardise="image", clip=3)
    every = Features(t1c=rule, t2=rule, adc=rule)
    assert grids(every).count("resampled to cubes of 1.5 mm (cubic B-spline)") == 3
    assert "no other" not in grids(every)
    assert bins(every).startswith("T1+C: into 32 levels; ")
    assert intensities(every).startswith("T1+C: z scores over the whole image, cut off at 3 standard deviations, ")
