"""The demonstration signature: the same recipe on features of synthetic exams, and a card that says so."""

from __future__ import annotations

from pathlib import Path

from config.schema import Training
from pipeline.research.tables import feature_table
from pipeline.research.training.train import Identity, train
from pipeline.signature import container
from pipeline.signature.record import Signature

LABEL = "aln_metastasis"
NAME = "demonstration"
INTENDED_USE = (
    "Demonstration of the software. Trained on synthetic exams (phantoms) whose tumours and nodes were drawn with a "
    "planted difference; it has never seen a patient, and what it says of one means nothing."
)


def train_demonstration(table_csv: Path, out: Path, recipe: Training | None = None, version: str = "1") -> Signature:
    """Train on a table of phantom exams (label column `aln_metastasis`, 1 or 0) and write the signature to `out`."""
    phantoms = feature_table.read(table_csv, label=LABEL, positive="1", negative="0")
    identity = Identity(NAME, version, "ALN metastasis", demonstration=True, intended_use=INTENDED_USE)
    return container.save(train(phantoms, recipe, identity), out)
