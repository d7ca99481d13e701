"""Who answers for a signature file: Ed25519 signatures over its SHA-256, in a file beside it.

`NAME.axsig.author` holds one entry per author: name, public key, signature. The signature file itself stays as it is,
and so do its SHA-256 and every registry. Whose keys a site trusts is in one JSON file, by default `authors.json` in its
registry.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from config.schema import SignatureSettings
from pipeline.errors import InputRejected
from pipeline.signature import container
from pipeline.signature.record import Signature
from pipeline.signature.whole_files import write_atomically

SCHEMA, TRUSTED_SCHEMA = "axrad.author/1", "axrad.authors/1"
SUFFIX = ".author"
TRUSTED = "authors.json"
MAX_BYTES = 64 * 1024
PRIVATE = 0o600
NOT_TRUSTED = "signature-not-trusted"


@dataclass(frozen=True)
class AuthorSignature:
    """One author's word on one file. `key`: 32 bytes; `signed`: 64 bytes."""

    author: str
    key: bytes
    signed: bytes

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def is_valid(self, sha256: str) -> bool:
        """Whether the holder of the key signed the file with this SHA-256 under this name."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signed, _message(sha256, self.author))
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Trusted:
    """An author whom the site trusts."""

    author: str
    key: bytes

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


def fingerprint(key: bytes) -> str:
    """What two people compare on the telephone: the SHA-256 of a public key."""
    return hashlib.sha256(key).hexdigest()


def beside(signature_file: Path) -> Path:
    """Where the authors' signatures on a file are."""
    return signature_file.with_name(signature_file.name + SUFFIX)


def read(signature_file: Path) -> tuple[AuthorSignature, ...]:
    """The authors' signatures beside a file, not verified yet; none where nobody signed.

    Raises:
        InputRejected: the file beside it is damaged.
    """
    path = beside(signature_file)
    if not path.exists():
        return ()
    entries = _entries(path, SCHEMA, "signatures")
    try:
        return tuple(AuthorSignature(_name(e["author"]), _bytes(e["key"]), _bytes(e["signature"])) for e in entries)
    except (KeyError, TypeError, ValueError) as error:
        raise InputRejected(f"{path} is damaged: {error}", code="author-unreadable") from error


def sign(signature_file: Path, sha256: str, author: str, private: Ed25519PrivateKey) -> AuthorSignature:
    """Sign a file; other authors' signatures beside it stay."""
    mine = AuthorSignature(author, public_bytes(private.public_key()), private.sign(_message(sha256, author)))
    write(signature_file, [*(s for s in read(signature_file) if s.key != mine.key), mine])
    return mine


def write(signature_file: Path, signatures: Iterable[AuthorSignature]) -> None:
    """Put authors' signatures beside a file, instead of those that are there."""
    entries = [{"author": s.author, "key": _text(s.key), "signature": _text(s.signed)} for s in signatures]
    content = {"schema": SCHEMA, "signatures": entries}
    write_atomically(beside(signature_file), json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


# Keys


def private_key(path: Path, *, make: bool) -> Ed25519PrivateKey:
    """The key in a PEM file. `make`: where there is no file, a new key, for its owner alone, and `PATH.pub` beside it.

    Raises:
        InputRejected: it cannot be read, is no Ed25519 key, or others may read it.
    """
    if make and not path.exists():
        return _new_key(path)
    try:
        if path.stat().st_mode & 0o077:
            raise InputRejected(f"others may read the key {path}: chmod 600 {path}", code="key-not-private")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputRejected(f"cannot read the key {path}: {error.strerror}", code="key-unreadable") from error
    except (ValueError, TypeError) as error:
        raise InputRejected(f"{path} is no private key without a passphrase in PEM", code="key-unreadable") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputRejected(f"{path} is no Ed25519 key", code="key-unreadable")
    return key


def public_key(path: Path) -> bytes:
    """The public key in a PEM file. Raises InputRejected."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputRejected(f"cannot read the key {path}: {error.strerror}", code="key-unreadable") from error
    except ValueError as error:
        raise InputRejected(f"{path} is no public key in PEM", code="key-unreadable") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputRejected(f"{path} is no Ed25519 key", code="key-unreadable")
    return public_bytes(key)


def public_bytes(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _new_key(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, PRIVATE)) as file:
            file.write(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
        pem = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        write_atomically(path.with_name(path.name + ".pub"), pem)
    except OSError as error:
        raise InputRejected(f"cannot write the key {path}: {error.strerror}", code="key-unreadable") from error
    return key


def keep(signature_file: Path, sha256: str, signatures: Iterable[AuthorSignature]) -> None:
    """Put those of these that are valid beside a copy of the file that they are about; others there stay."""
    there = {s.key: s for s in read(signature_file)}
    new = {s.key: s for s in signatures if s.is_valid(sha256)}
    if new and {**there, **new} != there:
        write(signature_file, {**there, **new}.values())


# Whom a site trusts


def trusted_path(settings: SignatureSettings) -> Path | None:
    """Where the site keeps the keys it trusts; None where it has said no place."""
    return settings.authors or (settings.registry / TRUSTED if settings.registry is not None else None)


def trusted(path: Path | None) -> tuple[Trusted, ...]:
    """The authors in the file; none without a file. Raises InputRejected: it is damaged."""
    if path is None or not path.exists():
        return ()
    try:
        return tuple(Trusted(str(e["author"]), _bytes(e["key"])) for e in _entries(path, TRUSTED_SCHEMA, "authors"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputRejected(f"{path} is damaged: {error}", code="author-unreadable") from error


def write_trusted(path: Path, authors: Iterable[Trusted]) -> None:
    entries = [{"author": a.author, "key": _text(a.key), "fingerprint": a.fingerprint} for a in authors]
    content = {"schema": TRUSTED_SCHEMA, "authors": entries}
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def require(settings: SignatureSettings, signatures: Iterable[Signature]) -> None:
    """Refuse signatures in use that no author signed whom the site trusts. Nobody signed the demonstration.

    Raises:
        InputRejected: the first that is refused.
    """
    known = trusted(trusted_path(settings))
    for one in signatures:
        file = settings.path or (settings.registry and settings.registry / f"{one.sha256}{container.SUFFIX}")
        if why := against(one.header.title, one.sha256, read(file) if file else (), known):
            raise InputRejected(why, code=NOT_TRUSTED)


def against(title: str, sha256: str, signatures: Sequence[AuthorSignature], known: Sequence[Trusted]) -> str:
    """Why a site that requires an author it trusts does not take this signature file; "" where it does."""
    keys = {one.key for one in known}
    if any(s.key in keys and s.is_valid(sha256) for s in signatures):
        return ""
    demand = "signature.require_author is set"
    valid = [s for s in signatures if s.is_valid(sha256)]
    if valid:
        who = ", ".join(f"{s.author} (key {s.fingerprint[:16]})" for s in valid)
        return f"{title} is signed by {who}, whom this site does not trust, and {demand}: axrad signature trust"
    if signatures:
        who = ", ".join(s.author for s in signatures)
        return f"the signature of {who} on {title} is not valid, it is of another file or was altered, and {demand}"
    return f"{title} is signed by no author, and {demand}: axrad signature sign"


def _message(sha256: str, author: str) -> bytes:
    return f"{SCHEMA}\n{sha256}\n{author}\n".encode()


def _entries(path: Path, schema: str, key: str) -> list[dict[str, object]]:
    """The list in a small JSON file of this schema. Raises InputRejected."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("it is too large")
        content = json.loads(data)
        if content["schema"] != schema or not all(isinstance(entry, dict) for entry in content[key]):
            raise ValueError(f"it is not {schema}")
    except OSError as error:
        raise InputRejected(f"cannot read {path}: {error.strerror}", code="author-unreadable") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputRejected(f"{path} is damaged: {error}", code="author-unreadable") from error
    return list(content[key])


def _name(text: object) -> str:
    """Whoever made the file chose it, and it is shown on terminals and in logs. Raises ValueError."""
    if not str(text).strip() or not str(text).isprintable():
        raise ValueError("an author's name is no text on one line")
    return str(text)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text), validate=True)
