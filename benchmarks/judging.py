"""What judging an exam costs that is larger than any real one: seconds of a core, and the memory of the process.

`ours` against a ceiling as `reference`: two seconds per 10,000 instances, half a second where there are too many.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.instances import Arrival, columns_of
from daemon.ledger.tables import instances, studies
from daemon.work.context import Context
from daemon.work.sweep import assemble
from pipeline.catalog import InstanceFacts
from pipeline.catalog.facts import MR_CLASSES
from pipeline.records import InstanceRef

STUDY, THEN = "1.2.3", 1_800_000_000.0
SERIES = ("t1_fl3d_pre", "t1_fl3d_post", "t2_tse_tra", "ep2d_diff_ADC")


def run() -> Iterator[dict[str, object]]:
    """Exams of 10,000, 20,000 and 50,000 instances in four series."""
    for number, ceiling_s in ((10_000, 2.0), (20_000, 4.0), (50_000, 0.5)):
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(spool=Spool(path=Path(folder) / "spool"), ledger=LedgerSection())
            ledger = open_ledger(settings)
            _fill(ledger, number)
            context = Context(settings, ledger, lambda: THEN + 3600, lambda task, row_id: True)
            began = time.process_time()
            assemble(context)
            seconds = time.process_time() - began
            ledger.close()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        yield {
            "name": f"judging an exam of {number} instances",
            "ours": round(seconds, 2),
            "reference": ceiling_s,
            "unit": "s",
            "ratio": round(ceiling_s / seconds, 2),
            "resident_mib": memory,
        }


def _fill(ledger: Ledger, number: int) -> None:
    with ledger.write() as connection:
        times = {"first_arrival_at": THEN, "last_arrival_at": THEN, "changed_at": THEN}
        connection.execute(
            studies.insert().values(id="x", study_uid=STUDY, state="assembling", patient_key="k", **times)
        )
        for start in range(0, number, 1000):
            arrivals = [_arrival(n) for n in range(start, start + 1000)]
            connection.execute(
                instances.insert(), [columns_of(a) | {"exam_uid": STUDY, "state": "stored"} for a in arrivals]
            )


def _arrival(n: int) -> Arrival:
    series = n % len(SERIES)
    facts = InstanceFacts(
        InstanceRef(STUDY, f"{STUDY}.{series}", MR_CLASSES[0], f"{STUDY}.{series}.{n}"),
        "MR",
        "1.2.840.10008.1.2.1",
        "k",
        f"{STUDY}.9",
        tags={
            "SeriesDescription": SERIES[series],
            "SeriesNumber": series,
            "InstanceNumber": n,
            "Rows": 512,
            "Columns": 512,
            "PixelSpacing": [0.7, 0.7],
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"],
            "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "ImagePositionPatient": [-180.0, -180.0, 0.01 * n],
            "AcquisitionTime": "101500.0",
            "Manufacturer": "SIEMENS",
            "RepetitionTime": 4.5,
            "EchoTime": 1.7,
            "StudyDate": "20260115",
        },
    )
    return Arrival(facts.ref.sop_instance_uid, "d", "p", 1, THEN, facts=facts)
