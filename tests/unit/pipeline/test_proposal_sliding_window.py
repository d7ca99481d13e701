"""A volume seen patch by patch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.proposal.sliding_window import averaged, starts, weights


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.9))
def test_patches_cover_every_voxel_and_none_reaches_beyond(size: int, patch: int, overlap: float) -> None:
    size = max(size, patch)
    begins = starts(size, patch, overlap)
    covered = {n for begin in begins for n in range(begin, begin + patch)}
    assert covered == set(range(size))


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14)),
    patch=st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(4, 9)),
    overlap=st.floats(0, 0.9),
    kind=st.sampled_from(["gaussian", "uniform"]),
)
def test_what_is_done_voxel_by_voxel_is_the_same_as_on_the_whole(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, kind: str
) -> None:
    volume = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    result = averaged(volume, 1, patch, overlap, kind, lambda part: (part[:1] + part[1:]) / 2)
    assert result.shape == (1, *shape)
    assert np.allclose(result[0], volume.mean(axis=0), atol=1e-5)


def test_the_middle_of_a_patch_counts_more_than_its_corners() -> None:
    gaussian = weights((9, 9, 9), "gaussian")
    assert gaussian[4, 4, 4] == pytest.approx(1.0)
    assert 0 < gaussian[0, 0, 0] < 0.01
    assert (weights((4, 5, 6), "uniform") == 1).all()
