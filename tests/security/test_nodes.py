"""Attack: another's certificate, a revoked one, a forged one, weak TLS, against a listener with certificates bound."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.listening import Listening, listening
from tests.support.waiting import wait_for

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


class Authority:
    """A throw-away authority that signs and revokes."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.name, self.key, ca=True, alternative=())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(PEM))

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, alternative: tuple[str, ...]
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 2 * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if alternative:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in alternative])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def sign(self, common: str, *alternative: str) -> tuple[x509.Certificate, Path, Path]:
        """A certificate, its file and that of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        made = self._build(subject, key, ca=False, alternative=alternative)
        path, key_path = self.folder / f"{common}.pem", self.folder / f"{common}.key"
        path.write_bytes(made.public_bytes(PEM))
        no_password = serialization.NoEncryption()
        key_path.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password))
        return made, path, key_path

    def revoke(self, *certificates: x509.Certificate) -> Path:
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW - DAY)
        builder = builder.next_update(NOW + DAY)
        for certificate in certificates:
            revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(NOW - DAY).build())
        path = self.folder / "revoked.pem"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))
        temporary.rename(path)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@contextmanager
def over_tls(authority: Authority, peers: list[dict[str, Any]], **listen: Any) -> Iterator[Listening]:
    _, certificate, key = authority.sign("axrad", "localhost")
    files = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authority.path}
    with listening(authority.folder / "spool", peer=peers, listen={**files, **listen}) as listener:
        wait_for(lambda: _answers(listener.port), "the listener")
        yield listener


def _answers(port: int) -> bool:
    """Whether an acceptor takes connections: it turns away who speaks no TLS."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.settimeout(5.0)
        plain.sendall(b"\1\0\0\0")
        plain.shutdown(socket.SHUT_WR)
        try:
            plain.recv(100)
        except OSError:
            return True
        return True


def peer(title: str, *certificates: str, **more: Any) -> dict[str, Any]:
    return {"ae_title": title, "networks": ["127.0.0.0/8"], "certificates": certificates, **more}


def showing(authority: Authority, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def gets_in(listener: Listening, context: ssl.SSLContext, title: str) -> bool:
    association = listener.associate(ae_title=title, tls_args=(context, "localhost"))
    if association.is_established:
        association.release()
        return True
    return False


def reasons(listener: Listening) -> list[str]:
    """Of security alerts about the authentication of nodes, without what the wait for the listener left."""
    path = listener.root.parent / "audit.jsonl"
    messages = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    events = [m["EventIdentification"] for m in messages]
    told = [e["EventOutcomeDescription"] for e in events if e.get("EventTypeCode", {}).get("csd-code") == "110126"]
    return [t for t in told if "wrong version" not in t and "http" not in t]


@pytest.mark.parametrize("by", ["alternative name", "common name", "digest"])
def test_a_certificate_opens_the_title_it_belongs_to_and_no_other(authority: Authority, by: str) -> None:
    alternative = {"alternative name": ("mr1.example.org",)}.get(by, ())
    made, certificate, key = authority.sign("scanner-one", *alternative)
    _, other, other_key = authority.sign("scanner-two", "mr2.example.org")
    digest = hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()
    name = {
        "alternative name": "MR1.example.org",
        "common name": "scanner-one",
        "digest": "sha256:" + ":".join(digest[i : i + 2].upper() for i in range(0, 64, 2)),
    }[by]
    with over_tls(authority, [peer("MR1", name), peer("MR2", "mr2.example.org"), peer("UNBOUND")]) as listener:
        mine, theirs = showing(authority, certificate, key), showing(authority, other, other_key)
        assert gets_in(listener, mine, "MR1")
        assert gets_in(listener, theirs, "MR2")
        assert not gets_in(listener, theirs, "MR1")
        assert not gets_in(listener, mine, "MR2")
        # A certificate that belongs to one title opens no other, also none that asks for no certificate of its own.
        assert not gets_in(listener, mine, "UNBOUND")
        assert reasons(listener) == ["not-its-certificate"] * 3


def test_where_there_are_alternative_names_the_common_name_counts_for_nothing(authority: Authority) -> None:
    _, certificate, key = authority.sign("mr1.example.org", "elsewhere.example.org")
    with over_tls(authority, [peer("MR1", "mr1.example.org")]) as listener:
        assert not gets_in(listener, showing(authority, certificate, key), "MR1")


def test_a_forged_certificate_and_none_fail_the_handshake_which_is_audited(authority: Authority) -> None:
    _, forged, forged_key = Authority(authority.folder / "forger", "authority").sign("mr1", "mr1.example.org")
    with over_tls(authority, [peer("MR1", "mr1.example.org")]) as listener:
        assert not gets_in(listener, showing(authority, forged, forged_key), "MR1")
        assert not gets_in(listener, showing(authority, None, None), "MR1")
        wait_for(lambda: len(reasons(listener)) == 2, "the audit of both")
        first, second = reasons(listener)
    assert first.startswith("tls-handshake: certificate verify failed")
    assert second == "tls-handshake: peer did not return a certificate"


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01"], ids=["nothing", "a beginning"])
def test_a_handshake_that_does_not_go_on_ends_in_time_and_is_audited(authority: Authority, hello: bytes) -> None:
    with (
        over_tls(authority, [peer("MR1", "mr1.example.org")], acse_timeout_s=0.5) as listener,
        socket.create_connection(("127.0.0.1", listener.port)) as stalling,
    ):
        stalling.sendall(hello)
        assert stalling.recv(100) == b""
        wait_for(lambda: reasons(listener), "the audit of the handshake")
        assert reasons(listener) == ["tls-handshake: timed out"]


def test_a_revoked_certificate_is_refused_from_when_the_list_says_so_without_a_restart(authority: Authority) -> None:
    made, certificate, key = authority.sign("mr1", "mr1.example.org")
    with over_tls(authority, [peer("MR1", "mr1.example.org")], tls_crl=authority.revoke()) as listener:
        context = showing(authority, certificate, key)
        assert gets_in(listener, context, "MR1")
        authority.revoke(made)
        wait_for(lambda: not gets_in(listener, context, "MR1"), "the list to be read")
        assert "certificate revoked" in reasons(listener)[-1]


def served(authority: Authority, port: int) -> bytes:
    """The certificate that the listener shows."""
    context = showing(authority, authority.folder / "mr1.pem", authority.folder / "mr1.key")
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def test_a_renewed_certificate_is_shown_without_a_restart_and_half_a_renewal_changes_nothing(
    authority: Authority,
) -> None:
    authority.sign("mr1", "mr1.example.org")
    renewed, new, new_key = authority.sign("renewed", "localhost")
    with over_tls(authority, [peer("MR1", "mr1.example.org")]) as listener:
        before = served(authority, listener.port)
        shutil.copy(new, authority.folder / "axrad.pem")
        os.utime(authority.folder / "axrad.pem", (1, 1))
        # The key has not come yet: the certificate before stays.
        assert served(authority, listener.port) == before
        shutil.copy(new_key, authority.folder / "axrad.key")
        der = renewed.public_bytes(serialization.Encoding.DER)
        wait_for(lambda: served(authority, listener.port) == der, "the renewed certificate")


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        (["-tls1_3"], True),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], True),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], False),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"], False),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], False),
    ],
    ids=["1.3", "gcm", "chacha20", "cbc-sha256", "cbc-sha1", "1.1"],
)
def test_only_forward_secrecy_with_authenticated_encryption_is_spoken(
    authority: Authority, options: list[str], accepted: bool
) -> None:
    _, certificate, key = authority.sign("mr1", "mr1.example.org")
    with over_tls(authority, [peer("MR1", "mr1.example.org")]) as listener:
        told = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.port}", "-CAfile", str(authority.path),
             "-cert", str(certificate), "-key", str(key), *options],
            input=b"", capture_output=True, check=False,
        )  # fmt: skip
        assert (b"Cipher is (NONE)" not in told.stdout and b"Cipher    : 0000" not in told.stdout) is accepted
        if not accepted:
            wait_for(lambda: reasons(listener), "the audit of the handshake")
