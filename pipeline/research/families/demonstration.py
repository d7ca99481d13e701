"""The demonstration family: the same recipe on features of synthetic exams, and cards that say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from config.schema import Settings, Training
from pipeline.records import Json
from pipeline.research.families.family_page import write_family
from pipeline.research.families.train_family import train_family
from pipeline.research.tables import feature_table
from pipeline.research.training import fitting
from pipeline.research.training.train import Identity
from pipeline.signature.record import Signature

LABEL = "aln_metastasis"
NAME = "demonstration"
INTENDED_USE = (
    "Demonstration of the software. Trained on synthetic exams (phantoms) whose tumours and nodes were drawn with a "
    "planted difference; it has never seen a patient, and what it says of one means nothing."
)
# What exams often lack: diffusion, or T2 as well; and one of the two regions.
MEMBERS = tuple(
    NAME + sequences + region for sequences in ("", ".t1c+t2", ".t1c") for region in ("", ".lymph_nodes", ".tumor")
)


def train_demonstration(
    table_csv: Path,
    folder: Path,
    recipe: Training | None = None,
    repeats: int = 10,
    shipped_first: Signature | None = None,
    progress: fitting.Progress | None = None,
) -> dict[str, Json]:
    """Train on a table of phantom exams (label column `aln_metastasis`, 1 or 0); returns what `family.json` holds.

    `shipped_first`: the first member as it was shipped before, whose file stays as it is so that its results do.
    """
    phantoms = feature_table.read(table_csv, label=LABEL, positive="1", negative="0", settings=Settings())
    identity = Identity(NAME, "1", "ALN metastasis", demonstration=True, intended_use=INTENDED_USE)
    trained = train_family(phantoms, recipe or Training(), identity, repeats, progress, MEMBERS)
    if shipped_first is not None:
        first, *others = trained.members
        trained = replace(trained, members=(replace(first, signature=shipped_first), *others))
    return write_family(trained, folder)
