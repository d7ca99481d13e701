"""Families from one table: which signatures it allows, on which exams each is trained, and how they are compared."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputRejected
from pipeline.research.families import family_page
from pipeline.research.families.facts import facts
from pipeline.research.families.subsets import subsets
from pipeline.research.families.train_family import train_family
from pipeline.research.tables import design
from pipeline.research.training.train import Identity, train
from pipeline.signature import container, family
from tests.support.signature_tables import FAST, GROUPS, clinical, feature, frame, table

# Every group strong enough to keep some column in every fold.
STRONG = frame(cases=60, effect=2.5)
SUBSETS = 7 * 3


def _without(data: pd.DataFrame, prefix: str, rows: slice) -> pd.DataFrame:
    """The table with these exams lacking a sequence or a group, as extract writes it."""
    copy = data.copy()
    copy.loc[rows, [c for c in copy.columns if c.startswith(prefix)]] = np.nan
    return copy


def _small(data: pd.DataFrame = STRONG, **options: object):
    recipe = FAST.model_copy(update={"sequences": ("t1c", "adc"), "folds": 3, **options})
    return train_family(table(data), recipe, Identity("aln"), repeats=2)


def test_a_whole_table_allows_every_subset_of_sequences_times_regions_those_that_read_more_first():
    planned = subsets(table(STRONG), FAST, "aln")
    assert len(planned) == SUBSETS
    assert len({s.groups for s in planned}) == SUBSETS
    assert [len(s.groups) for s in planned] == sorted((len(s.groups) for s in planned), reverse=True)
    assert [s.name for s in planned[:7]] == [
        "aln", "aln.t1c+t2", "aln.t1c+adc", "aln.t2+adc", "aln.lymph_nodes", "aln.tumor", "aln.t1c",
    ]  # fmt: skip


def test_what_no_exam_of_the_table_has_is_in_no_subset():
    planned = subsets(table(_without(STRONG, "adc.", slice(None))), FAST, "aln")
    assert len(planned) == 3 * 3
    assert not any("adc" in group for s in planned for group in s.groups)


def test_with_clinical_columns_each_subset_comes_with_and_without_them():
    planned = subsets(table(clinical(STRONG)), FAST.model_copy(update={"clinical": ("ki67_percent",)}), "aln")
    assert [s.name for s in planned[:2]] == ["aln", "aln.radiomic"]
    assert len(planned) == 2 * SUBSETS


def test_each_member_is_what_training_alone_makes_byte_for_byte():
    made = _small()
    for member in made.members:
        alone = train(table(STRONG), member.subset.recipe, Identity(member.subset.name))
        assert container.to_bytes(alone) == container.to_bytes(member.signature)


def test_a_member_is_trained_on_the_exams_that_have_its_groups_and_counts_the_others():
    made = _small(_without(_without(STRONG, "adc.", slice(0, 9)), "t1c.lymph_nodes.", slice(20, 22)))
    counts = {m.subset.name: (len(m.cases.positive), m.cases.left_out) for m in made.members}
    assert counts["aln"] == (60 - 10 - 3, 10 + 3)
    assert counts["aln.t1c"] == (57, 3)
    assert counts["aln.t1c.tumor"] == (60, 0)
    assert counts["aln.adc"] == (50, 10)
    assert int(made.common.sum()) == 47
    by_name = {m["name"]: m for m in facts(made)["members"]}
    assert by_name["aln@1"]["incomplete_by_group"] == {
        "t1c.lymph_nodes": 3, "adc.tumor": 10, "adc.lymph_nodes": 10
    }  # fmt: skip
    assert by_name["aln.t1c.tumor@1"]["incomplete_by_group"] == {}


def test_single_missing_values_are_still_refused():
    data = STRONG.copy()
    data.loc[4, feature(3, GROUPS[0])] = np.nan
    with pytest.raises(InputRejected, match="rows 5"):
        _small(data)


def test_members_are_compared_with_the_first_on_the_same_exams():
    found = facts(_small(_without(STRONG, "adc.", slice(0, 9))))["comparison"]
    assert (found["n"], found["against"]) == (50, "aln@1")
    assert "auc_difference" not in found["members"][0]
    for row in found["members"][1:]:
        assert row["n"] == 50
        first = found["members"][0]["auc"]
        assert row["auc_difference"]["value"] == pytest.approx(row["auc"] - first)
        moved = row["reclassified"]
        stays = sum(moved[c][k] for c in moved for k in ("high_stays_high", "low_stays_low"))
        assert row["agreement"]["value"] == pytest.approx(stays / 50)
    assert found["members"][1]["without"]


def test_a_subset_for_which_the_table_has_too_little_is_left_out_with_the_reason():
    made = _small(_without(STRONG, "adc.", slice(4, None)))
    assert {m.subset.name for m in made.members} == {"aln.t1c", "aln.t1c.lymph_nodes", "aln.t1c.tumor"}
    assert all("fewer than 3 folds" in one.why for one in made.left_out)
    assert len(made.left_out) == 6


def test_a_subset_that_would_never_be_asked_is_left_out():
    data = STRONG.copy()
    nodes = [c for c in data.columns if c.startswith("adc.lymph_nodes.")]
    data[nodes] = np.random.default_rng(3).normal(size=(60, len(nodes)))
    made = _small(data, t_test_p=1e-6)
    never = next(one for one in made.left_out if one.subset.name == "aln.adc.tumor")
    assert never.why == "aln.adc reads nothing else and comes before it: it would never be asked"
    inputs = [m.signature.inputs for m in made.members]
    assert all(not earlier <= later for i, later in enumerate(inputs) for earlier in inputs[:i])


def test_the_folder_can_be_read_and_its_page_stands_alone(tmp_path):
    made = _small(_without(STRONG, "adc.", slice(0, 9)))
    family_page.write_family(made, tmp_path)
    read = family.read(tmp_path)
    assert [s.header.title for s in read.members] == [f"{m.subset.name}@1" for m in made.members]
    assert json.loads((tmp_path / "family.json").read_text()) == facts(made)
    page = (tmp_path / "report.html").read_text()
    assert "src=" not in page
    assert "href=" not in page
    assert "10 without ADC" in page
    for member in made.members:
        assert member.signature.header.title in page


def test_a_case_without_a_whole_group_is_left_out_of_scoring_too():
    found = table(_without(STRONG, "t2.tumor.", slice(0, 4)))
    columns = tuple(c for c in found.columns if c.startswith("t2."))
    keep = design.complete(design.matrix(found, columns, ()), columns, found, complete_cases=False)
    assert keep.tolist() == [False] * 5 + [True] * 55
