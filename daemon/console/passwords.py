"""Passwords (argon2id, RFC 9106) and time-based one-time codes (TOTP, RFC 6238)."""

from __future__ import annotations

import hmac

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pipeline.errors import InputRejected

LEAST_CHARACTERS, MOST_CHARACTERS = 12, 256
STEP_S = 30
# A clock may be one step ahead or behind (RFC 6238 5.2).
STEPS_AWAY = (0, -1, 1)
_hasher = PasswordHasher()
# What is compared where no such user is, so that the answer takes as long.
NOBODY: str = _hasher.hash("nobody has this password")


def require_strong(password: str) -> None:
    """Raise InputRejected where a password is too short or too long. Length is what helps (NIST SP 800-63B 3.1.1)."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise InputRejected(f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters", code="weak-password")


def hashed(password: str) -> str:
    digest: str = _hasher.hash(password)
    return digest


def is_right(digest: str, password: str) -> bool:
    """Whether a password is the one of a hash; takes some ten milliseconds either way."""
    if len(password) > MOST_CHARACTERS:
        return False
    try:
        _hasher.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False
    return True


def new_secret() -> str:
    """A secret of 160 bits for one-time codes, in base 32."""
    secret: str = pyotp.random_base32()
    return secret


def address_of(secret: str, user: str, issuer: str) -> str:
    """The `otpauth://` address that an authenticator takes."""
    address: str = pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=issuer)
    return address


def code_at(secret: str, step: int) -> str:
    """The code of a time step of 30 s, counted from 1970."""
    code: str = pyotp.TOTP(secret).at(step * STEP_S)
    return code


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step that a code belongs to, of those near `now`; None: it is wrong."""
    digits = code.replace(" ", "")
    if not (len(digits) == 6 and digits.isascii() and digits.isdigit()):
        return None
    present = int(now // STEP_S)
    steps = [present + away for away in STEPS_AWAY if hmac.compare_digest(code_at(secret, present + away), digits)]
    return max(steps) if steps else None
