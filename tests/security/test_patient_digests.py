"""Whoever has a copy of the ledger or of a backup finds no patient by trying every id there is."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from daemon.ledger.site_key import read
from daemon.main import cli
from pipeline.catalog import patient_key
from pipeline.phantom import PhantomSpec, write_exam

NOBODY = "65534"
# An id of 8 digits, and as many others as are tried here; a processor tries all 10^8 in two minutes.
PATIENT = 40_217_336
TRIED = range(PATIENT - 100_000, PATIENT + 100_000)


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """A site that has taken one exam, whose ledger was backed up."""
    with tempfile.TemporaryDirectory(prefix="axrad-digests-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        exam = write_exam(folder / "exam", PhantomSpec(seed=12, preset="small"))
        for path in exam.paths:
            dataset = dcmread(path)
            dataset.PatientID = str(PATIENT)
            dataset.save_as(path)
        (folder / "axrad.toml").write_text('[spool]\npath = "data/spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n')
        for command in (["ingest", str(exam.folder)], ["backup", "--out", str(folder / "backup.tar")]):
            done = CliRunner().invoke(cli, [*command, "--config", str(folder / "axrad.toml")])
            assert done.exit_code == 0, done.output
        yield folder


def everything_in(folder: Path) -> bytes:
    """Bytes of the ledger with all that lies beside it, and what is packed in the backup."""
    parts = [path.read_bytes() for path in (folder / "data").glob("ledger.sqlite*")]
    with tarfile.open(folder / "backup.tar") as tar:
        for member in tar:
            data = tar.extractfile(member)
            content = data.read() if data else b""
            parts.append(gzip.decompress(content) if member.name.endswith(".gz") else content)
    return b"\n".join(parts)


def test_no_digest_in_ledger_or_backup_is_that_of_an_id(site: Path) -> None:
    content = everything_in(site)
    assert str(PATIENT).encode() not in content
    digests = {content[m.start() : m.start() + 16] for m in re.finditer(rb"(?=[0-9a-f]{16})", content)}
    found = [number for number in TRIED if patient_key(str(number), "").encode() in digests]
    assert found == []


def test_the_same_search_finds_the_patient_for_who_has_the_key(site: Path) -> None:
    """The attack is a real one: it fails for want of the key alone."""
    key = read(site / "data" / "site.key")
    assert key is not None
    content = everything_in(site)
    near = range(PATIENT - 1000, PATIENT + 1000)
    assert [n for n in near if key.keyed(patient_key(str(n), "")).encode() in content] == [PATIENT]


def test_the_key_is_in_no_backup(site: Path) -> None:
    text = (site / "data" / "site.key").read_text().strip()
    for form in (text.encode(), bytes.fromhex(text)):
        assert form not in everything_in(site)
    with tarfile.open(site / "backup.tar") as tar:
        assert not [name for name in tar.getnames() if "key" in name]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be another user")
def test_another_user_can_read_neither_key_nor_ledger_nor_backup(site: Path) -> None:
    for path in (site / "data" / "site.key", site / "data" / "ledger.sqlite", site / "backup.tar"):
        assert path.is_file()
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "cat", str(path)]
        done = subprocess.run(as_nobody, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (1, b""), path
