"""`script/bench proposal`: rows of every method for both roles, and a real case that is skipped aloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from benchmarks import _drawing, proposal


def test_both_roles_have_a_row_of_every_method_and_a_missing_real_case_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AXRAD_CASES", raising=False)
    rows = {str(row["name"]): row for row in proposal.run(exams=1, icc=0, enhancement=1)}
    for role in ("tumor", "lymph_nodes"):
        for method in proposal.METHODS:
            assert 0 <= float(str(rows[f"proposal {role} Dice: {method}"]["ours"])) <= 1
        assert "goal" in rows[f"proposal {role} Dice: axrad"]
    assert rows["proposal wrong and called good"]["lesions"] == sum(
        int(str(rows[f"proposal {role} Dice: axrad"]["lesions"])) for role in ("tumor", "lymph_nodes")
    )
    assert rows["proposal tumor Dice: from the images alone"]["exams"] == 1
    assert "skipped" in rows["proposal breast1 Dice over 200 readers"]
    assert "SKIPPED" in capsys.readouterr().err


def test_a_real_case_is_scored_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXRAD_CASES", str(tmp_path))
    monkeypatch.setattr(proposal, "JITTERS_OF_REAL", 3)
    (tmp_path / "radiomics").mkdir()
    z, y, x = np.indices((12, 40, 40))
    lesion = (z - 6) ** 2 * 4 + (y - 20) ** 2 + (x - 20) ** 2 <= 64
    values = 100 + 200 * lesion + np.random.default_rng(1).standard_normal(lesion.shape)
    for name, array in (("image", values.astype(np.int16)), ("label", lesion.astype(np.uint8))):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.0, 2.0))
        SimpleITK.WriteImage(image, str(tmp_path / "radiomics" / f"breast1_{name}.nrrd"))
    (row,) = proposal._real()
    assert float(str(row["ours"])) > 0.85
    assert set(_drawing.BASELINES) < set(row)
