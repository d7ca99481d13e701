"""Families: what is read from their folder, how they are activated together, and who is asked with what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import InputRejected
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.signature import container, demonstration_path, family
from pipeline.signature.coverage import coverage
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry
from tests.support.signature_tables import FAST, GROUPS, MADE, clinical, frame, table, trained

DATA = clinical(frame(cases=60))
ALL = frozenset(GROUPS)
T1 = frozenset(g for g in GROUPS if g.startswith("t1c."))
NODES = frozenset(g for g in GROUPS if g.endswith(".lymph_nodes"))
WHOLE = trained(DATA, name="aln")
T1_ONLY = trained(DATA, FAST.model_copy(update={"sequences": ("t1c",)}), name="aln.t1c")
NODES_ONLY = trained(DATA, FAST.model_copy(update={"rois": ("lymph_nodes",)}), name="aln.lymph_nodes")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def _write(folder: Path, *members: Signature, version: str = "1") -> Path:
    listed = []
    for number, member in enumerate(members):
        saved = container.save(member, folder / f"{number}.axsig")
        listed.append({"file": f"{number}.axsig", "sha256": saved.sha256})
    facts = {"schema": family.SCHEMA, "name": "aln", "version": version, "members": listed}
    (folder / family.FILE).write_bytes(family.as_json(facts))
    return folder


def _titles(registry: Registry) -> list[str]:
    return [s.header.title for s in registry.in_order()]


def test_a_familys_members_become_active_together_in_their_written_order(registry, tmp_path):
    read = family.read(_write(tmp_path, NODES_ONLY, WHOLE, T1_ONLY))
    registry.activate_family(read, MADE, unevaluated=True)
    assert _titles(registry) == ["aln.lymph_nodes@1", "aln@1", "aln.t1c@1"]
    assert [(e.place, e.family) for e in registry.entries()] == [(1, "aln@1"), (2, "aln@1"), (3, "aln@1")]
    assert tuple(s.inputs for s in registry.in_order()) == (NODES, ALL, T1)


def test_the_first_whose_inputs_are_there_answers_and_says_once_what_those_before_it_lacked(registry, tmp_path):
    registry.activate_family(family.read(_write(tmp_path, WHOLE, NODES_ONLY, T1_ONLY)), MADE, unevaluated=True)
    whole = registry.choose(ALL)
    assert (whole.signature.header.name, whole.notes) == ("aln", ())
    t1 = registry.choose(T1 | {"t2.tumor"})
    assert t1.signature.header.name == "aln.t1c"
    assert t1.notes == (
        "aln@1 needs adc.lymph_nodes, adc.tumor, t2.lymph_nodes, which is missing: aln.t1c@1 was used instead",
    )
    nothing = registry.choose(frozenset({"t1c.tumor"}))
    assert nothing.notes == ("aln.t1c@1 needs t1c.lymph_nodes, which is missing: no other signature fits",)


def test_a_member_that_an_evaluation_speaks_against_is_left_out_with_the_reason(registry, tmp_path):
    read = family.read(_write(tmp_path, WHOLE, T1_ONLY))
    noise = clinical(frame(60, effect=0.0, seed=5, prefix="external"))
    registry.record(evaluate(read.members[1], {"external": table(noise)}, Questions(repeats=1)).facts)
    done = registry.activate_family(read, MADE, unevaluated=True)
    assert _titles(registry) == ["aln@1"]
    ((left_out, why),) = done.left_out
    assert left_out.header.name == "aln.t1c"
    assert "NO EVIDENCE" in why


def test_a_family_without_an_independent_cohort_becomes_active_only_where_that_is_said(registry, tmp_path):
    read = family.read(_write(tmp_path, WHOLE, T1_ONLY))
    with pytest.raises(InputRejected, match=r"aln@1, aln\.t1c@1: no evaluation on an independent cohort"):
        registry.activate_family(read, MADE)
    assert _titles(registry) == []


def test_a_new_version_takes_the_former_one_out_of_use_whole(registry, tmp_path):
    registry.activate_family(family.read(_write(tmp_path / "1", WHOLE, T1_ONLY)), MADE, unevaluated=True)
    second = trained(DATA.iloc[:50], name="aln", version="2")
    done = registry.activate_family(family.read(_write(tmp_path / "2", second, version="2")), MADE, unevaluated=True)
    assert _titles(registry) == ["aln@2"]
    assert set(done.replaced) == {"aln@1", "aln.t1c@1"}
    assert [f.title for f in registry.families()] == ["aln@2"]


def test_a_signature_of_its_own_takes_the_place_of_a_member_with_the_same_inputs(registry, tmp_path):
    registry.activate_family(family.read(_write(tmp_path, WHOLE, T1_ONLY, NODES_ONLY)), MADE, unevaluated=True)
    registry.activate(trained(DATA, T1_ONLY.header.recipe, name="better"), MADE, unevaluated=True)
    assert _titles(registry) == ["aln@1", "better@1", "aln.lymph_nodes@1"]


def test_a_registry_of_before_is_families_of_one(registry):
    old = {"active": {}, "shadow": []}
    for signature in (T1_ONLY, NODES_ONLY, WHOLE):
        old["active"]["+".join(sorted(signature.inputs))] = registry.add(signature)
    (registry.folder / "in-use.json").write_text(json.dumps(old))
    assert _titles(registry) == ["aln@1", "aln.lymph_nodes@1", "aln.t1c@1"]
    assert registry.families() == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "axrad.family/9"}, "damaged"),
        ({"members": []}, "no members"),
        ({"members": [{"file": "../x.axsig", "sha256": "0"}]}, "not in its folder"),
        ({"members": [{"file": "0.axsig", "sha256": "0" * 64}]}, "altered"),
        ({"members": [{"file": "9.axsig", "sha256": "0" * 64}]}, "cannot read"),
        ({"members": "all"}, "damaged"),
        ({"name": "a/b@3\n"}, "it is called"),
        ({"name": ""}, "it is called"),
        ({"version": "2"}, r"aln@1 is not of version 2"),
    ],
)
def test_a_damaged_family_is_refused_with_the_reason(tmp_path, change, message):
    path = _write(tmp_path, WHOLE) / family.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputRejected, match=message):
        family.read(tmp_path)


def test_a_family_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / family.FILE).write_text("[" * 200_000)
    with pytest.raises(InputRejected, match="damaged"):
        family.read(tmp_path)


def test_two_members_that_read_the_same_inputs_are_refused(tmp_path):
    with pytest.raises(InputRejected, match="read the same inputs"):
        family.read(_write(tmp_path, WHOLE, trained(DATA, name="other")))


def test_members_that_answer_different_questions_are_refused(tmp_path):
    other = trained(DATA, T1_ONLY.header.recipe, name="other", positive_class="something else")
    with pytest.raises(InputRejected, match="different questions"):
        family.read(_write(tmp_path, WHOLE, other))


def test_the_demonstration_is_a_family_whose_first_member_is_the_signature_of_before():
    members = family.demonstration()
    assert members[0].sha256 == "da0c29e147090f14aca767dec1529f8dc3d18632d8b911dc44322c916549e6b1"
    assert members[0].sha256 == container.load(demonstration_path()).sha256
    assert all(member.header.demonstration for member in members)
    assert [member.header.title.removeprefix("demonstration") for member in members] == [
        "@1", ".t1c+t2@1", ".lymph_nodes@1", ".tumor@1", ".t1c@1", ".t1c+t2.lymph_nodes@1", ".t1c+t2.tumor@1",
        ".t1c.lymph_nodes@1", ".t1c.tumor@1",
    ]  # fmt: skip
    for member in members:
        assert member.inputs == {f"{s}.{r}" for s in member.header.recipe.sequences for r in member.header.recipe.rois}


def test_what_the_signatures_in_use_cover_is_said_by_sequences():
    sets = [ALL, T1, NODES, ALL - {"t2.tumor"}, T1 | {"age_years", "ki67_percent"}]
    assert coverage(sets) == (
        "t1c+t2+adc (tumor+lymph_nodes, lymph_nodes, tumor+lymph_nodes without t2.tumor); "
        "t1c (tumor+lymph_nodes, tumor+lymph_nodes with age_years+ki67_percent)"
    )
