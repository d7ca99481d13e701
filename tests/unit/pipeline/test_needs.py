"""Which signatures can answer with what an exam has."""

import subprocess
import sys
from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from pipeline import signature
from pipeline.needs import GROUPS, Absence, Available, SignatureNeeds, answerable
from pipeline.records import ROLES, SEQUENCES

FACTS = ("clinical_n", "ki67_percent")
ALL = SignatureNeeds("all@1", frozenset(GROUPS), rank=0)
T1_ONLY = SignatureNeeds("t1@1", frozenset({("t1c", "tumor"), ("t1c", "lymph_nodes")}), rank=1)

groups = st.frozensets(st.sampled_from(GROUPS), min_size=1)
facts = st.frozensets(st.sampled_from(FACTS))
families = st.lists(st.tuples(groups, facts), max_size=6).map(
    lambda members: [SignatureNeeds(f"s{n}@1", g, f, rank=n) for n, (g, f) in enumerate(members)]
)


@given(st.permutations(range(6)), families, st.frozensets(st.sampled_from(GROUPS)), facts)
def test_exactly_those_answer_whose_inputs_are_all_there_in_their_written_order(order, family, here, known):
    shuffled = [family[n] for n in order if n < len(family)]
    found = answerable(shuffled, Available(here, known))
    able = [s.name for s in family if s.groups <= here and s.clinical <= known]
    assert [s.name for s in found.signatures] == able
    assert set(found.lacking) == {s.name for s in family} - set(able)
    assert bool(found.reasons) != bool(able)


@given(families.filter(bool), groups, facts)
def test_what_a_signature_lacks_completes_it(family, here, known):
    for needs in family:
        available = Available(here, known)
        lacking = set(available.lacking(needs))
        added = {g for g in GROUPS if set(g) & lacking or ".".join(g) in lacking}
        assert not Available(here | added, known | lacking).lacking(needs)
        assert bool(lacking) == (not (needs.groups <= here and needs.clinical <= known))


def test_every_subset_of_sequences_and_regions_says_what_is_not_there():
    for sequences in _subsets(SEQUENCES):
        for roles in _subsets(ROLES):
            found = answerable([ALL], Available.of(sequences, roles))
            absent = {a.code for a in found.reasons}
            if not sequences or not roles:
                assert found.first is None
                continue
            expected = {f"no-{s}" for s in SEQUENCES if s not in sequences}
            expected |= {"roi-missing"} if len(roles) < len(ROLES) else set()
            assert absent == expected


def test_the_reasons_are_those_of_the_signature_that_comes_nearest():
    there = Available.of(("t2",), ("tumor", "lymph_nodes"), absent={"t1c": Absence("phase-missing", "no such phase")})
    assert answerable([ALL, T1_ONLY], there).reasons == (Absence("phase-missing", "no such phase"),)


def test_a_region_that_one_sequence_does_not_show_is_absent_there_alone():
    outside = Absence("roi-outside", "it lies outside")
    there = Available.of(SEQUENCES, ROLES, absent={"adc.lymph_nodes": outside})
    assert answerable([ALL], there).reasons == (outside,)
    assert answerable([ALL, T1_ONLY], there).first == T1_ONLY


def test_clinical_facts_that_were_not_looked_up_may_be_known():
    clinical = SignatureNeeds("c@1", T1_ONLY.groups, frozenset({"clinical_n"}))
    assert answerable([clinical], Available.of(SEQUENCES, ROLES)).first == clinical
    reasons = answerable([clinical], Available.of(SEQUENCES, ROLES, clinical=())).reasons
    assert [r.code for r in reasons] == ["missing-clinical"]


def test_no_signature_in_use_is_a_reason():
    assert [r.code for r in answerable([], Available.of(SEQUENCES, ROLES)).reasons] == ["no-signature"]


def test_a_signature_tells_what_it_reads():
    needs = signature.load(signature.demonstration_path()).needs(3)
    assert needs.rank == 3
    assert needs.groups == {(s, r) for s in SEQUENCES for r in ROLES}


def test_asking_who_can_answer_loads_no_science():
    heavy = "{'scipy', 'SimpleITK', 'sklearn', 'radiomics', 'highdicom', 'pydicom'}"
    code = f"import sys, pipeline.needs; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.strip() == b"[]"


def _subsets(names):
    return chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))


def test_a_sequence_that_no_region_can_be_carried_to_is_missing_for_that_reason() -> None:
    elsewhere = Absence("frames-unrelated", "T2 lies in another frame of reference")
    available = Available.of(SEQUENCES, ROLES, absent={"t2.tumor": elsewhere, "t2.lymph_nodes": elsewhere})
    assert available.absence("t2") == elsewhere
