"""A file encrypted with what stands in another: Fernet, the recipe of `cryptography`, on blocks of it.

A mark, the salt, then blocks, each after its length: number of the block, whether it is the last, and a part of the
file, encrypted and authenticated together. So no block can be changed, moved, repeated, or cut off unnoticed. The key
follows from the key file by scrypt: a passphrase does as well as random digits, if it is a long one.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pipeline.errors import InputRejected

MARK = b"axrad encrypted/1\n"
SALT_BYTES = 16
BLOCK = 1024 * 1024
# A token is the block, its padding, and less than a hundred bytes of its own.
MOST_OF_A_TOKEN = BLOCK + 4096
LEAST_CHARACTERS = 16
MOST_OF_A_KEY_FILE = 64 * 1024


class WrongKey(InputRejected):
    """The key file does not open the backup, cannot be used, or is missing."""

    code = "backup-key"


def is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK


def encrypt(source: Path, out: BinaryIO, key_file: Path) -> None:
    """Write `source`, encrypted, to `out`. Raises WrongKey."""
    salt = secrets.token_bytes(SALT_BYTES)
    fernet = _fernet(key_file, salt)
    out.write(MARK + salt)
    left = source.stat().st_size
    with source.open("rb") as file:
        for number in range(max(1, -(-left // BLOCK))):
            block = file.read(BLOCK)
            left -= len(block)
            head = number.to_bytes(8, "big") + bytes([left <= 0])
            token = base64.urlsafe_b64decode(fernet.encrypt(head + block))
            out.write(len(token).to_bytes(4, "big") + token)


def decrypt(source: Path, out: BinaryIO, key_file: Path) -> None:
    """Write what `encrypt` was given to `out`. Raises WrongKey where a block is not the one that was written."""
    with source.open("rb") as file:
        if file.read(len(MARK)) != MARK:
            raise WrongKey(f"{source.name} is not encrypted")
        fernet = _fernet(key_file, file.read(SALT_BYTES))
        ended = False
        for number, token in enumerate(_tokens(file)):
            try:
                content = fernet.decrypt(base64.urlsafe_b64encode(token))
            except InvalidToken:
                what = "is damaged" if number else f"is not opened by {key_file.name}, or is damaged"
                raise WrongKey(f"{source.name} {what}") from None
            if ended or content[:8] != number.to_bytes(8, "big"):
                raise WrongKey(f"{source.name} is damaged: its parts are not in their order")
            ended = content[8] == 1
            out.write(content[9:])
    if not ended:
        raise WrongKey(f"{source.name} is cut off")


def _tokens(file: BinaryIO) -> Iterator[bytes]:
    while head := file.read(4):
        length = int.from_bytes(head, "big")
        token = file.read(length) if len(head) == 4 and length <= MOST_OF_A_TOKEN else b""
        # One that is cut off does not decrypt.
        yield token


def _fernet(key_file: Path, salt: bytes) -> Fernet:
    try:
        with key_file.open("rb") as file:
            secret = file.read(MOST_OF_A_KEY_FILE).strip()
    except OSError as error:
        raise WrongKey(f"the key file {key_file} cannot be read: {error.strerror}") from error
    if len(secret) < LEAST_CHARACTERS:
        raise WrongKey(f"{key_file} needs at least {LEAST_CHARACTERS} characters, as `openssl rand -hex 32` makes them")
    key = Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(secret)
    return Fernet(base64.urlsafe_b64encode(key))
