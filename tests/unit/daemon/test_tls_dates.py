"""Doctor tells of certificates and revocation lists that end soon, or have ended, before every peer is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config.schema import Console, Settings
from daemon.finding import Finding
from daemon.health import tls_dates

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PEM = serialization.Encoding.PEM
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])


def certificate(days: float) -> bytes:
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=900))
    return builder.not_valid_after(NOW + timedelta(days=days)).sign(KEY, hashes.SHA256()).public_bytes(PEM)


def revoked(days: float) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW - timedelta(days=900))
    return builder.next_update(NOW + timedelta(days=days)).sign(KEY, hashes.SHA256()).public_bytes(PEM)


def findings(folder: Path, **files: bytes) -> dict[str, Finding]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "tls_key").touch()
    listen = {name: folder / name for name in (*files, "tls_key")}
    settings = Settings.model_validate({"listen": listen, "spool": {"path": folder / "spool"}})
    return {one.subject.removeprefix("listen."): one for one in tls_dates.examine(settings, NOW.timestamp())}


def test_nothing_is_said_without_tls(tmp_path: Path) -> None:
    assert list(tls_dates.examine(Settings.model_validate({"spool": {"path": tmp_path}}), NOW.timestamp())) == []


@pytest.mark.parametrize(("days", "level"), [(31, "ok"), (29, "warn"), (-1, "fail")])
def test_a_certificate_of_ours_is_judged_by_its_end(tmp_path: Path, days: float, level: str) -> None:
    chain = certificate(days) + certificate(-5)
    (one,) = findings(tmp_path, tls_certificate=chain).values()
    assert (one.level, one.subject) == (level, "listen.tls_certificate")


def test_an_old_authority_may_stay_beside_the_new_one(tmp_path: Path) -> None:
    both = certificate(-5) + certificate(400)
    assert findings(tmp_path, tls_certificate=certificate(90), tls_client_ca=both)["tls_client_ca"].level == "ok"


@pytest.mark.parametrize(("days", "level"), [(0.1, "ok"), (-0.1, "fail")])
def test_one_late_list_among_several_is_a_fault(tmp_path: Path, days: float, level: str) -> None:
    authority = {"tls_certificate": certificate(90), "tls_client_ca": certificate(90)}
    found = findings(tmp_path, **authority, tls_crl=revoked(5) + revoked(days))
    assert found["tls_crl"].level == level


@pytest.mark.parametrize("content", [b"", b"no list"])
def test_a_file_that_holds_no_list_is_named(tmp_path: Path, content: bytes) -> None:
    authority = {"tls_certificate": certificate(90), "tls_client_ca": certificate(90)}
    one = findings(tmp_path, **authority, tls_crl=content)["tls_crl"]
    assert one.level == "fail"
    assert str(tmp_path / "tls_crl") in one.text


def test_the_consoles_certificate_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "console.pem"
    path.write_bytes(certificate(5))
    settings = Settings(console=Console(certificate=path, key=path))
    (one,) = tls_dates.examine(settings, NOW.timestamp())
    assert (one.subject, one.level) == ("console.certificate", "warn")
