"""Random fields that are fixed in the patient."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.phantom.fields import Field

BOX = ((-40.0, 40.0), (-30.0, 30.0), (-50.0, 50.0))


@given(
    st.integers(0, 2**32),
    st.floats(2.0, 20.0),
    st.tuples(st.floats(-40, 40), st.floats(-30, 30), st.floats(-50, 50)),
    st.tuples(st.floats(-40, 40), st.floats(-30, 30), st.floats(-50, 50)),
)
def test_a_point_has_one_value_whatever_the_grid(
    seed: int, pitch: float, point: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    field = Field.draw(np.random.default_rng(seed), BOX, pitch)
    alone = field.at((np.array(point[:1]), np.array(point[1:2]), np.array(point[2:])))
    together = field.at(tuple(np.array([a, b]) for a, b in zip(point, other, strict=True)))  # type: ignore[arg-type]
    assert np.isclose(alone[0, 0, 0], together[0, 0, 0], atol=1e-5)


def test_a_field_has_zero_mean_and_unit_variance() -> None:
    field = Field.draw(np.random.default_rng(0), BOX, 3.0)
    values = field.at((np.arange(-40, 40, 1.7), np.arange(-30, 30, 1.3), np.arange(-50, 50, 1.1)))
    assert abs(values.mean()) < 0.1
    assert 0.9 < values.std() < 1.1
