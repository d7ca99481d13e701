"""The users of the console in one file: role, password as argon2 hash, secret of the one-time codes.

The file is its user's alone (0600), as the site's key is, and lies beside it. It is read again when it has changed, so
that what `axrad console user` does holds from the next request on.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from config.places import console_users
from config.schema import Settings
from daemon.console import passwords
from daemon.console.rights import ROLES, Role
from daemon.machine.file_lock import waiting_for_lock
from daemon.network.file_state import file_state
from daemon.spool.whole_files import write_synced
from pipeline.errors import InputRejected, TryLater

SCHEMA = "axrad.console-users/1"
# Names go into the audit trail and, of readers, into segmentations they accept.
USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class BadUserFile(TryLater):
    """The file of users is damaged, or cannot be read. Goes away once it is restored."""

    code = "bad-user-file"


@dataclass(frozen=True, slots=True)
class User:
    """`generation` changes with password and role and ends sessions. `last_step`: of the last code that opened."""

    name: str
    role: Role
    password: str = field(repr=False)
    totp: str = field(repr=False)
    generation: str = ""
    last_step: int = 0


class UserFile:
    """The file of users, as it is now. For several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread_lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._users: Mapping[str, User] = {}

    def all(self) -> Mapping[str, User]:
        """Every user by name. Raises BadUserFile."""
        with self._thread_lock:
            state = file_state(self.path)
            if state != self._seen:
                self._users, self._seen = _read(self.path), state
            return self._users

    def get(self, name: str) -> User | None:
        return self.all().get(name)

    def add(self, name: str, role: Role, password: str) -> str:
        """Add a user, or give one of this name a new password, role and secret; the secret of the one-time codes.

        Raises InputRejected where name or password cannot be used.
        """
        if not USER_NAME.fullmatch(name):
            raise InputRejected(f"a user's name has 1 to 64 letters, digits and . _ @ -, which {name!r} has not")
        passwords.require_strong(password)
        secret = passwords.new_secret()
        user = User(name, role, passwords.hashed(password), secret, _generation())
        with self._changing() as users:
            users[name] = user
        return secret

    def remove(self, name: str) -> None:
        """Raises InputRejected where there is no such user."""
        with self._changing() as users:
            self._known(users, name)
            del users[name]

    def set_role(self, name: str, role: Role) -> None:
        """Give another role; the user's sessions end. Raises InputRejected where there is no such user."""
        with self._changing() as users:
            users[name] = replace(self._known(users, name), role=role, generation=_generation())

    def take_code(self, name: str, code: str, now: float) -> bool:
        """Whether a one-time code is right and was not used before; from now on it is used, and so are older ones."""
        with self._changing() as users:
            user = users.get(name)
            step = None if user is None else passwords.step_of(user.totp, code, now)
            if user is None or step is None or step <= user.last_step:
                return False
            users[name] = replace(user, last_step=step)
            return True

    def _known(self, users: Mapping[str, User], name: str) -> User:
        if name not in users:
            there = ", ".join(sorted(users)) or "there is none"
            raise InputRejected(f"the console has no user {name}; users: {there}", code="no-such-user")
        return users[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, User]]:
        """Read, let the body change it, and write it where it did."""
        with waiting_for_lock(self.path.with_suffix(".lock"), threading.Event()):
            before = _read(self.path)
            users = dict(before)
            yield users
            if users != before:
                document = {"schema": SCHEMA, "users": {name: asdict(user) for name, user in sorted(users.items())}}
                write_synced(self.path, (json.dumps(document, indent=1) + "\n").encode())
                self.path.chmod(0o600)


def require_users(settings: Settings) -> UserFile:
    """The file of users. Raises InputRejected where nobody could sign in, BadUserFile."""
    users = UserFile(console_users(settings))
    if not users.all() and settings.console.oidc_issuer is None:
        raise InputRejected(
            "the console has no user: add one with `axrad console user add NAME --role ROLE`", code="no-user"
        )
    return users


def _generation() -> str:
    return secrets.token_hex(8)


def _read(path: Path) -> dict[str, User]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadUserFile(f"the console's users in {path} cannot be read: {type(error).__name__}") from error
    try:
        document = json.loads(text)
        users = {name: User(**fields) for name, fields in document["users"].items()}
        wrong = document["schema"] != SCHEMA or not all(_plausible(name, user) for name, user in users.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        wrong, users = True, {}
    if wrong:
        raise BadUserFile(f"{path} is no file of console users: restore it from a backup, or remove it and add users")
    return users


def _plausible(name: str, user: User) -> bool:
    kinds: dict[str, Callable[[object], bool]] = {
        "name": lambda value: value == name and bool(USER_NAME.fullmatch(name)),
        "role": lambda value: value in ROLES,
        "password": lambda value: isinstance(value, str) and value.startswith("$argon2id$"),
        "totp": lambda value: isinstance(value, str) and len(value) >= 16,
        "generation": lambda value: isinstance(value, str),
        "last_step": lambda value: isinstance(value, int) and not isinstance(value, bool),
    }
    return all(check(getattr(user, key)) for key, check in kinds.items())
