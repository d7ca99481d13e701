"""Matrices, feature tables and gene sets as people have them: read, or refused with figures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import scales
from pipeline.research.microenvironment.barcodes import patient_of, samples_of
from pipeline.research.microenvironment.cell_tables import below, read_cell_signature, read_cells
from pipeline.research.microenvironment.cohort import by_label, by_score, read_cohort
from pipeline.research.microenvironment.gene_sets import read_collections, read_gene_sets, read_names
from pipeline.research.microenvironment.matrices import Matrix, read_matrix
from pipeline.research.microenvironment.mixtures import deconvolved
from pipeline.research.microenvironment.plan import Plan
from pipeline.research.microenvironment.symbols import is_mangled, rows_of

PATIENTS = [f"TCGA-A1-{n:04d}" for n in range(12)]


def frame(genes: int = 5, seed: int = 1) -> pd.DataFrame:
    """Genes as rows, patients as columns."""
    values = np.random.default_rng(seed).normal(8, 2, (genes, len(PATIENTS)))
    return pd.DataFrame(values, [f"GENE{n}" for n in range(genes)], PATIENTS)


def read(path: Path) -> Matrix:
    return read_matrix(path, PATIENTS)


# Files


def test_every_form_of_file_gives_the_same_matrix(tmp_path: Path) -> None:
    wanted = frame()
    wanted.to_csv(tmp_path / "a.csv")
    wanted.to_csv(tmp_path / "a.tsv", sep="\t")
    wanted.T.to_csv(tmp_path / "turned.csv")
    wanted.T.rename_axis("patient").to_parquet(tmp_path / "a.parquet")
    wanted.rename_axis("gene").reset_index().to_parquet(tmp_path / "b.parquet")
    wanted.to_csv(tmp_path / "comma.csv", sep=";", decimal=",")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    # R leaves out the title above the names of rows.
    (tmp_path / "r.txt").write_text((tmp_path / "a.tsv").read_text().removeprefix("\t"))
    for path in sorted(tmp_path.iterdir()):
        matrix = read(path)
        assert (list(matrix.patients), list(matrix.names)) == (PATIENTS, list(wanted.index)), path.name
        assert (matrix.values == wanted.T.to_numpy()).all(), path.name
        assert matrix.intake.patients_in == (
            "rows" if path.stem in ("turned",) or "a.parquet" in path.name else "columns"
        )


def test_a_patients_order_is_that_of_the_feature_table_and_missing_ones_are_counted(tmp_path: Path) -> None:
    frame()[PATIENTS[:0:-1]].assign(OTHER=1.0).to_csv(tmp_path / "a.csv")
    matrix = read(tmp_path / "a.csv")
    assert list(matrix.patients) == PATIENTS[1:]
    assert (matrix.intake.samples.missing, matrix.intake.samples.others) == (1, 1)


def test_a_matrix_of_other_patients_is_refused_without_naming_any(tmp_path: Path) -> None:
    frame().set_axis([f"P{n}" for n in range(12)], axis=1).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputRejected, match="none of the 12 patients") as refusal:
        read(tmp_path / "a.csv")
    assert "TCGA-A1" not in refusal.value.message
    assert "P3" not in refusal.value.message


def test_too_few_patients_in_common_are_refused(tmp_path: Path) -> None:
    frame()[PATIENTS[:9]].to_csv(tmp_path / "a.csv")
    with pytest.raises(InputRejected, match="has 9 of the 12 patients"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no table|no matrix|empty"),
        (b"\x1f\x8bdamaged", "damaged"),
        (b"PAR1 nothing", "no Parquet"),
        (b"gene\n1\n2\n", "no matrix"),
        (b"gene,a,b\nx,1,2,3,4\n", "no table"),
        (b"PK\x03\x04", "workbook"),
    ],
)
def test_files_that_are_no_matrices_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputRejected, match=message):
        read(tmp_path / "a.csv")


def test_cells_that_are_no_numbers_are_refused_with_their_rows(tmp_path: Path) -> None:
    text = frame().astype(object)
    text.iloc[2, 3] = "high"
    text.iloc[4, 4] = "inf"
    text.iloc[0, 0] = "NA"
    text.to_csv(tmp_path / "a.csv")
    with pytest.raises(InputRejected, match="2 cells are no finite numbers, in rows 3, 5"):
        read(tmp_path / "a.csv")


def test_empty_cells_stay_empty_and_are_counted(tmp_path: Path) -> None:
    gaps = frame()
    gaps.iloc[1, 2] = np.nan
    gaps.to_csv(tmp_path / "a.csv", na_rep="NA")
    matrix = read(tmp_path / "a.csv")
    assert np.isnan(matrix.values[2, 1])
    assert matrix.intake.missing_cells == 1


def test_columns_of_words_beside_patients_in_rows_are_listed(tmp_path: Path) -> None:
    frame().T.assign(subtype="LumA").to_csv(tmp_path / "a.csv")
    matrix = read(tmp_path / "a.csv")
    assert (len(matrix.names), matrix.intake.not_numeric) == (5, ("subtype",))


def test_columns_beside_the_genes_are_no_patients(tmp_path: Path) -> None:
    table = frame().reset_index(names="Hugo_Symbol")
    table.insert(1, "Entrez_Gene_Id", range(5))
    table.to_csv(tmp_path / "a.txt", sep="\t", index=False)
    matrix = read(tmp_path / "a.txt")
    assert matrix.names[0] == "GENE0"
    assert matrix.intake.samples.others == 1


# Patients


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SB-01", "TCGA-A1-A0SB"),
        ("tcga.a1.a0sb.01A.11R.A144.07", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SB-01A", "TCGA-A1-A0SB"),
        (" P7 ", "P7"),
        ("007", "007"),
        (7.0, "7"),
        ("TCGA-A1-A0SBX", "TCGA-A1-A0SBX"),
    ],
)
def test_tcga_barcodes_are_shortened_to_the_patient(name: object, patient: str) -> None:
    assert patient_of(name) == patient


def test_of_several_samples_the_first_primary_tumour_is_taken() -> None:
    a = PATIENTS[0]
    samples = samples_of(
        [f"{a}-11A", f"{a}-01B", f"{a}-01A", f"{a}-06A", f"{PATIENTS[1]}-11A", "TCGA-ZZ-0000-01A"], PATIENTS[:3]
    )
    assert samples.positions == {a: 2}
    assert (samples.other_tissue, samples.repeated, samples.missing, samples.others) == (3, 1, 2, 1)


def test_a_patient_named_twice_is_refused_by_place(tmp_path: Path) -> None:
    table = pd.concat([frame(), frame()[[PATIENTS[3]]]], axis=1)
    table.to_csv(tmp_path / "a.csv")
    with pytest.raises(InputRejected, match="columns 5, 14 name patients") as refusal:
        read(tmp_path / "a.csv")
    assert PATIENTS[3] not in refusal.value.message


# Genes


@pytest.mark.parametrize(
    "name", ["1-Mar", "2-Sep", "10-Sep", "Mar-01", "1-Dec", "2021-03-01", "3/1/2019", "2.31E+13", "01-Sept", "1-Mar-06"]
)
def test_names_that_a_spreadsheet_made_are_noticed(name: str) -> None:
    assert is_mangled(name)


@pytest.mark.parametrize(
    "name",
    ["MARCHF1", "SEPTIN2", "DEC1", "MARC1", "RP11-798L4.1", "cg16806347", "7SK", "HLA-A", "AC114730.2", "5S_rRNA"],
)
def test_names_of_genes_are_not(name: str) -> None:
    assert not is_mangled(name)


@given(st.integers(1, 31), st.sampled_from(["Mar", "Sep", "Dec", "MAR", "sep"]))
def test_days_of_the_months_that_genes_are_named_like_are_noticed(day: int, month: str) -> None:
    assert is_mangled(f"{day}-{month}")


def test_mangled_unnamed_and_duplicated_rows_are_listed_and_the_largest_mean_is_used() -> None:
    values = np.array([[1.0, 9.0, 2.0, 3.0, 4.0, 5.0], [1.0, 9.0, 2.0, 3.0, 4.0, 5.0]])
    rows = rows_of(["TP53|7157", "TP53|99", "1-Mar", "?|100130426", "BRCA1", ""], values)
    assert (rows.names, rows.positions) == (("TP53", "BRCA1"), (1, 4))
    assert (rows.mangled, rows.unnamed, rows.duplicated) == (("1-Mar",), 2, ("TP53",))


# Scales


def matrix(values: np.ndarray, tmp_path: Path) -> Matrix:
    table = pd.DataFrame(values, [f"GENE{n}" for n in range(len(values))], PATIENTS)
    table.to_csv(tmp_path / "scale.csv")
    return read(tmp_path / "scale.csv")


RNG = np.random.default_rng(2)
EXAMPLES = {
    "counts": RNG.negative_binomial(2, 0.001, (200, 12)).astype(float),
    "linear": RNG.lognormal(4, 2, (200, 12)),
    "log2": np.log2(RNG.lognormal(4, 2, (200, 12)) + 1),
    "centred": RNG.normal(0, 1, (200, 12)),
}


@pytest.mark.parametrize("scale", EXAMPLES)
def test_scales_are_told_apart(scale: str) -> None:
    assert scales.scale_of(EXAMPLES[scale].T) == scale


def test_logarithms_of_small_values_are_no_centred_ones() -> None:
    assert scales.scale_of(np.log2(RNG.lognormal(3, 2, (12, 200)) + 0.001) - 2) == "log2"


@pytest.mark.parametrize(("values", "scale"), [([0.1, 0.9], "beta"), ([3.0, 88.0], "percent"), ([-4.0, 5.0], "m")])
def test_scales_of_methylation_are_told_apart(values: list[float], scale: str) -> None:
    assert scales.methylation_scale_of(np.array([values])) == scale


def test_counts_are_refused_unless_somebody_calls_them_so(tmp_path: Path) -> None:
    counts = matrix(EXAMPLES["counts"], tmp_path)
    with pytest.raises(InputRejected, match=r"all 2400 cells are whole numbers, the largest \d+.*--scale"):
        scales.to_compare(counts, "counts", stated=False)
    compared = scales.to_compare(counts, "counts", stated=True)
    assert (2**compared - 1).sum(axis=1) == pytest.approx(1e6)


def test_linear_values_are_compared_as_logarithms_and_mixed_as_they_are(tmp_path: Path) -> None:
    linear = matrix(EXAMPLES["linear"], tmp_path)
    assert scales.to_compare(linear, "linear", stated=False) == pytest.approx(np.log2(linear.values + 1))
    assert (scales.to_mix(linear, "linear") == linear.values).all()


def test_logarithms_are_unlogged_for_mixtures_and_centred_values_refused(tmp_path: Path) -> None:
    logarithms = matrix(EXAMPLES["log2"], tmp_path)
    assert scales.to_mix(logarithms, "log2") == pytest.approx(2**logarithms.values)
    with pytest.raises(InputRejected, match="cells cannot be told"):
        scales.to_mix(matrix(EXAMPLES["centred"], tmp_path), "centred")


@pytest.mark.parametrize(
    ("logarithmic", "decision"), [(False, "as they are: no value"), (True, "raised to powers of 2: no")]
)
def test_where_signature_and_mixtures_are_small_the_scale_that_fits_better_is_taken(
    tmp_path: Path, logarithmic: bool, decision: str
) -> None:
    rng = np.random.default_rng(5)
    signature = pd.DataFrame(rng.gamma(0.6, 4, (60, 4)).clip(0, 45), [f"GENE{n}" for n in range(60)], list("ABCD"))
    signature.to_csv(tmp_path / "signature.csv")
    fractions = rng.dirichlet(np.ones(4), 12)
    mixtures = signature.to_numpy() @ fractions.T
    expression = matrix(np.log2(mixtures + 1) if logarithmic else mixtures, tmp_path)
    notes: list[str] = []
    plan = Plan(permutations=0)
    cells = deconvolved(tmp_path / "signature.csv", expression, "log2", plan, notes, lambda what, done, total: None)
    assert decision in notes[0]
    assert np.abs(cells.values - fractions).mean() < 0.03


@pytest.mark.parametrize(
    ("example", "scale", "methylation", "message"),
    [
        ("centred", "counts", False, "said to be counts, but its values go from -"),
        ("centred", "linear", False, "but its values go from -"),
        ("linear", "log2", False, "said to be logarithms, but its values go from"),
        ("log2", "beta", False, "which is no scale of such a matrix"),
        ("log2", "beta", True, "said to be beta values"),
        ("log2", "log2", True, "which is no scale of such a matrix"),
    ],
)
def test_a_stated_scale_that_the_values_cannot_have_is_refused(
    tmp_path: Path, example: str, scale: scales.Scale, methylation: bool, message: str
) -> None:
    with pytest.raises(InputRejected, match=message):
        scales.refuse_impossible(matrix(EXAMPLES[example], tmp_path), scale, methylation=methylation)


# Feature tables


def features(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": PATIENTS, "f1": range(12), **columns})


def test_the_papers_form_with_patients_in_columns_is_turned(tmp_path: Path) -> None:
    table = features(f2=1.5).set_index("patient_id").T
    table.to_csv(tmp_path / "f.csv")
    cohort = read_cohort(tmp_path / "f.csv", score=None, label=None, id_column=None)
    assert cohort.patients == PATIENTS
    assert list(cohort.features.columns) == ["f1", "f2"]


def test_score_label_words_and_companions_are_no_features(tmp_path: Path) -> None:
    table = features(score=np.linspace(0, 1, 12), aln=[0, 1] * 6, site="A", age_years=50, note=["x"] * 12)
    table.to_csv(tmp_path / "f.csv", index=False)
    cohort = read_cohort(tmp_path / "f.csv", score="score", label="aln", id_column=None)
    assert list(cohort.features.columns) == ["f1"]
    assert cohort.left_out == ("note",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_id": [*PATIENTS[:11], f"{PATIENTS[0]}-01A"]}, "rows of one patient: 1 and 12"),
        ({"patient_id": [*PATIENTS[:11], ""]}, "no patient is named in rows 12"),
        ({"score": ["high"] * 12}, "12 cells are no finite numbers"),
    ],
)
def test_tables_with_faults_are_refused_by_row(tmp_path: Path, change: dict[str, object], message: str) -> None:
    features(**{"score": np.linspace(0, 1, 12), **change}).to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(InputRejected, match=message):
        read_cohort(tmp_path / "f.csv", score="score", label=None, id_column=None)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    features().to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(InputRejected, match="no column risk"):
        read_cohort(tmp_path / "f.csv", score="risk", label=None, id_column=None)


def test_scores_are_split_at_the_median_at_a_cutoff_or_between_two_values(tmp_path: Path) -> None:
    features(score=np.arange(12) / 12, two=[0, 0, 0, 1] * 3).to_csv(tmp_path / "f.csv", index=False)
    cohort = read_cohort(tmp_path / "f.csv", score="score", label=None, id_column=None)
    assert [by_score(cohort, c).count(first=True) for c in (None, 0.25)] == [6, 9]
    with pytest.raises(InputRejected, match="1 patients are high and 11 low"):
        by_score(cohort, 0.9)
    cohort = read_cohort(tmp_path / "f.csv", score="two", label=None, id_column=None)
    assert by_score(cohort, None).count(first=True) == 3


@pytest.mark.parametrize(
    ("labels", "positive", "first"),
    [
        (["N", "R"], None, "R"),
        (["0", "1"], None, "1"),
        (["positive", "negative"], None, "positive"),
        (["a", "b"], "a", "a"),
        (["a", "b"], None, "b"),
    ],
)
def test_the_class_with_metastases_comes_first(
    tmp_path: Path, labels: list[str], positive: str | None, first: str
) -> None:
    features(aln=labels * 6).to_csv(tmp_path / "f.csv", index=False)
    cohort = read_cohort(tmp_path / "f.csv", score=None, label="aln", id_column=None)
    assert by_label(cohort, positive).first == first


def test_more_than_two_labels_are_refused_and_empty_ones_left_out(tmp_path: Path) -> None:
    features(aln=["0", "1", "2"] * 4, some=["0", "1", ""] * 4).to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(InputRejected, match="3 values"):
        by_label(read_cohort(tmp_path / "f.csv", score=None, label="aln", id_column=None), None)
    assert len(by_label(read_cohort(tmp_path / "f.csv", score=None, label="some", id_column=None), None).members) == 8


# Gene sets, signature matrices, cells


def test_gene_sets_are_read_by_line_and_named_by_their_file(tmp_path: Path) -> None:
    (tmp_path / "KEGG.gmt").write_text("A\tabout\tX\tY\t\nB\t\tZ\t1-Mar\n\n")
    collection = read_gene_sets(tmp_path / "KEGG.gmt")
    assert [(s.collection, s.term, s.genes) for s in collection.sets] == [
        ("KEGG", "A", frozenset("XY")), ("KEGG", "B", frozenset(("Z", "1-Mar"))),
    ]  # fmt: skip
    assert collection.mangled == ("1-Mar",)


@pytest.mark.parametrize(
    ("text", "message"), [("A\tx\tG\nnothing\n", "lines 2"), ("", "empty"), ("A\tx\tG\nA\tx\tH\n", "occur twice: A")]
)
def test_files_that_are_no_gene_sets_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "go.gmt").write_text(text)
    with pytest.raises(InputRejected, match=message):
        read_gene_sets(tmp_path / "go.gmt")


def test_a_signature_matrix_is_read_whichever_way_it_lies(tmp_path: Path) -> None:
    table = pd.DataFrame(np.arange(8.0).reshape(4, 2), list("WXYZ"), ["B cells", "T cells"])
    table.to_csv(tmp_path / "a.txt", sep="\t")
    table.T.to_csv(tmp_path / "b.csv")
    signatures = [read_cell_signature(tmp_path / name, "WXYZ")[0] for name in ("a.txt", "b.csv")]
    assert [s.cells for s in signatures] == [("B cells", "T cells")] * 2
    assert all((s.values == table.to_numpy()).all() for s in signatures)
    with pytest.raises(InputRejected, match="none of its 4 genes"):
        read_cell_signature(tmp_path / "a.txt", ["ENSG1"])


def test_results_of_cibersort_are_read_with_their_p(tmp_path: Path) -> None:
    fractions = np.random.default_rng(3).dirichlet([1, 1, 1], 12)
    table = pd.DataFrame(fractions, [f"{p}-01A" for p in PATIENTS], ["B cells naive", "Plasma cells", "T cells CD8"])
    table = table.assign(**{"P-value": [0.01] * 10 + [0.3] * 2, "Correlation": 0.8, "RMSE": 0.6})
    table.to_csv(tmp_path / "CIBERSORT-Results.txt", sep="\t")
    cells = read_cells(tmp_path / "CIBERSORT-Results.txt", PATIENTS)
    assert (cells.kind, cells.names) == ("fractions", ("B cells naive", "Plasma cells", "T cells CD8"))
    assert cells.p is not None
    assert (cells.p < 0.05).sum() == 10


def test_cells_that_mostly_but_not_always_sum_to_1_are_refused(tmp_path: Path) -> None:
    fractions = np.random.default_rng(3).dirichlet([1, 1, 1], 12)
    fractions[4] *= 2
    pd.DataFrame(fractions, PATIENTS, list("ABC")).to_csv(tmp_path / "c.csv")
    with pytest.raises(InputRejected, match=r"do not sum to 1 in 1 of 12 patients: .*number 5"):
        read_cells(tmp_path / "c.csv", PATIENTS)


# What an opponent brings


def test_numbers_with_a_comma_that_may_stand_for_thousands_are_refused(tmp_path: Path) -> None:
    frame().map(lambda value: f"{value * 1000:,.0f}").to_csv(tmp_path / "thousands.tsv", sep="\t")
    mixed = frame().round(2).astype(str)
    mixed[PATIENTS[0]] = mixed[PATIENTS[0]].str.replace(".", ",")
    mixed.to_csv(tmp_path / "mixed.tsv", sep="\t")
    for name, why in (("thousands", "all of them with three digits"), ("mixed", "others with a point")):
        with pytest.raises(InputRejected, match=why):
            read(tmp_path / f"{name}.tsv")
    # Three decimals are no thousands where another number has two, or begins with 0.
    frame().round(3).to_csv(tmp_path / "comma.csv", sep=";", decimal=",")
    assert (read(tmp_path / "comma.csv").values == frame().round(3).T.to_numpy()).all()


def test_a_sample_without_values_is_a_missing_patient_and_costs_no_gene(tmp_path: Path) -> None:
    gaps = frame()
    gaps[PATIENTS[3]] = np.nan
    gaps.to_csv(tmp_path / "a.csv")
    matrix = read(tmp_path / "a.csv")
    assert list(matrix.patients) == [p for p in PATIENTS if p != PATIENTS[3]]
    assert (matrix.intake.samples.missing, matrix.intake.missing_cells) == (1, 0)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "is empty"), (7.0, "is 7"), (0.0, "is 0")])
def test_a_matrix_of_nothing_or_of_one_value_is_refused(tmp_path: Path, value: float, message: str) -> None:
    frame().map(lambda _: value).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputRejected, match=f"every cell of the cohort's patients {message}"):
        read(tmp_path / "a.csv")


def test_patients_on_both_sides_and_normal_tissue_alone_are_refused_with_figures(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(8, 2, (12, 12))
    pd.DataFrame(values, PATIENTS, PATIENTS).to_csv(tmp_path / "both.csv")
    with pytest.raises(InputRejected, match="12 among its titles and 12 in a column"):
        read(tmp_path / "both.csv")
    frame().set_axis([f"{p}-11A" for p in PATIENTS], axis=1).to_csv(tmp_path / "normal.csv")
    with pytest.raises(InputRejected, match=r"has 0 of the 12 patients .*\(12 samples of them are no primary tumours"):
        read(tmp_path / "normal.csv")


def odd_tables() -> dict[str, pd.DataFrame]:
    """Parquet tables with patients in rows, odd each in its own way."""
    plain = frame().T
    return {
        "levels": plain.set_axis(pd.MultiIndex.from_arrays([PATIENTS, range(12)])),
        "lists": plain.assign(GENE9=[[1.0, 2.0]] * 12),
        "dates": plain.assign(GENE9=pd.Timestamp("2021-03-01")),
        "categories": frame().set_axis(pd.Index(PATIENTS, dtype="category"), axis=1),
    }


@pytest.mark.parametrize(
    ("odd", "message"),
    [("levels", "several levels"), ("lists", "lists in their cells: GENE9"), ("dates", "12 cells are no"),
     ("categories", "no Parquet table")],
)  # fmt: skip
def test_odd_parquet_tables_are_refused(tmp_path: Path, odd: str, message: str) -> None:
    odd_tables()[odd].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputRejected, match=message):
        read(tmp_path / "a.parquet")


def test_an_index_named_like_a_gene_and_a_column_of_truths_are_no_genes(tmp_path: Path) -> None:
    frame().T.rename_axis("GENE3").assign(treated=True).to_parquet(tmp_path / "a.parquet")
    matrix = read(tmp_path / "a.parquet")
    assert list(matrix.names) == list(frame().index)
    assert matrix.intake.not_numeric == ("treated",)


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda s: s * 0 + 1, "with the values of another: B, C"), (lambda s: s.assign(C=s["A"]), "of another: C"),
     (lambda s: s.set_axis(["A", "B", "A"], axis=1), "of one name: A")],
)  # fmt: skip
def test_cells_that_nothing_tells_apart_are_refused(tmp_path: Path, change, message: str) -> None:
    genes = [f"G{n}" for n in range(8)]
    cells = pd.DataFrame(np.random.default_rng(3).lognormal(3, 1, (8, 3)), genes, list("ABC"))
    change(cells).to_csv(tmp_path / "s.txt", sep="\t")
    with pytest.raises(InputRejected, match=message):
        read_cell_signature(tmp_path / "s.txt", genes)


def test_p_values_of_9999_are_none(tmp_path: Path) -> None:
    cells = pd.DataFrame(np.random.default_rng(4).dirichlet(np.ones(4), 12), PATIENTS, list("ABCD"))
    cells.assign(**{"P-value": 9999.0, "RMSE": 0.8}).to_csv(tmp_path / "c.txt", sep="\t")
    result = read_cells(tmp_path / "c.txt", PATIENTS)
    assert result.p is None
    with pytest.raises(InputRejected, match="no column of P-values between 0 and 1"):
        below(result, 0.05)


def test_gene_sets_given_twice_or_under_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "go.gmt").write_text("S\td\tA\tB\n")
    (tmp_path / "go.txt").write_text("T\td\tA\tB\n")
    with pytest.raises(InputRejected, match="gene sets of one content"):
        read_collections([tmp_path / "go.gmt", tmp_path / "go.gmt"])
    with pytest.raises(InputRejected, match="gene sets of one name"):
        read_collections([tmp_path / "go.gmt", tmp_path / "go.txt"])


def test_a_background_is_read_in_every_encoding_and_compressed(tmp_path: Path) -> None:
    text = "TP53\nMYC\n"
    for data in (text.encode("utf-16"), text.encode("utf-8-sig"), gzip.compress(text.encode())):
        (tmp_path / "b.txt").write_bytes(data)
        assert read_names(tmp_path / "b.txt") == {"TP53", "MYC"}
    (tmp_path / "b.txt").write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(InputRejected, match="cannot read the genes"):
        read_names(tmp_path / "b.txt")
