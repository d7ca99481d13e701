"""A console that answers in this process, and people who sign in to it over HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from config.places import console_users
from config.schema import Audit, Console, Settings, Spool
from daemon.console import passwords
from daemon.console.application import serving
from daemon.console.rights import ROLES, Role
from daemon.console.user_file import UserFile
from daemon.ledger import open_ledger
from daemon.machine.private_files import private_files

PASSWORD = "a long enough password"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass
class Person:
    """Somebody at a browser."""

    base: str
    http: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        # Not the environment's proxies and authorities.
        self.http.trust_env = False

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.http.get(self.base + path, allow_redirects=False, **more)

    def post(self, path: str, form: dict[str, str], **more: Any) -> requests.Response:
        return self.http.post(self.base + path, data=form, allow_redirects=False, **more)

    def token(self, path: str = "/") -> str:
        """The token that the forms of a page carry."""
        match = CSRF.search(self.get(path).text)
        assert match is not None, path
        return match[1]

    def try_to_sign_in(self, name: str, code: str, password: str = PASSWORD) -> requests.Response:
        form = {"csrf": self.token("/sign-in"), "user": name, "password": password, "code": code}
        return self.post("/sign-in", form)


@dataclass
class RunningConsole:
    """A console with one user of each role, named after it."""

    settings: Settings
    base: str
    users: UserFile
    _steps: dict[str, int] = field(default_factory=dict)

    def code(self, name: str) -> str:
        """A code that was not used yet: of the step before, of this one, then of the next."""
        user = self.users.get(name)
        assert user is not None
        now = int(time.time() // passwords.STEP_S)
        step = max(now - 1, user.last_step + 1)
        assert step <= now + 1, "the codes that a clock allows are used up"
        return passwords.code_at(user.totp, step)

    def visitor(self) -> Person:
        return Person(self.base)

    def person(self, name: str) -> Person:
        """A user who is signed in."""
        person = self.visitor()
        answer = person.try_to_sign_in(name, self.code(name))
        if answer.status_code == 401:
            # A step ended between the code and its use.
            answer = person.try_to_sign_in(name, self.code(name))
        assert answer.status_code == 303, answer.text
        return person

    def trail(self) -> list[dict[str, Any]]:
        assert self.settings.audit.path is not None
        return [json.loads(line) for line in self.settings.audit.path.read_text(encoding="utf-8").splitlines()]


def console_settings(folder: Path, **console: Any) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    return Settings(
        spool=Spool(path=folder / "spool", warn_free_bytes=1, refuse_free_bytes=1),
        audit=Audit(path=folder / "audit.jsonl"),
        console=Console(**{"port": 0, **console}),
    )


@contextmanager
def console_of(settings: Settings, config_path: Path | None = None) -> Iterator[RunningConsole]:
    """Serve the console of settings, whose ledger and users are made where they are not there."""
    users = UserFile(console_users(settings))
    with private_files():
        settings.spool.path.mkdir(parents=True, exist_ok=True)
        open_ledger(settings).close()
        for role in ROLES:
            if users.get(role) is None:
                users.add(role, role, PASSWORD)
        with serving(settings, config_path) as server:
            scheme = "https" if settings.console.certificate else "http"
            yield RunningConsole(settings, f"{scheme}://127.0.0.1:{server.server_port}", users)


def role_named(text: str) -> Role:
    return next(role for role in ROLES if role == text)
